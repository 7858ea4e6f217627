import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  type Answer,
  answeredAttempts,
  beginSend,
  claimAttempt,
  findAttempt,
  findEnd,
  holdMessage,
  loadMessage,
  messageKey,
  otherDestinationReached,
  purgeMessages,
  recordAnswer,
  recordEnd,
  recordReport,
  releaseClaim,
  releaseHolds,
  renewClaim,
  staleHolds,
  storeMessage,
  toAttempt,
  useMessage,
} from '../../src/store/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000)
const subject = (more: object = {}) => ({
  firstRunId: randomUUID(),
  retry: 1,
  workflowId: 'bounce/ann@example.org/m',
  messageId: randomUUID(),
  recipient: 'ann@example.org',
  destination: 'example.org',
  ...more,
})
const answer = (seconds: number, more: Partial<Answer> = {}): Answer => ({
  at: at(seconds),
  outcome: 'deferred',
  status: '4.3.2',
  reply: '421 4.3.2 no',
  stage: 'banner',
  mailServer: 'mx.example.org',
  maybeDelivered: false,
  relayed: false,
  ...more,
})

onBothDatabases('the attempt log', (opened) => {
  const db = () => opened.database.db

  test('one of many concurrent claims wins; the others get the expiry of its claim', async () => {
    const it = subject()
    const claims = await Promise.all(Array.from({ length: 10 }, (_, i) => claimAttempt(opened.database, it, `claim-${i}`, at(0), at(60))))
    expect(claims.filter((c) => c.kind === 'claimed')).toHaveLength(1)
    for (const claim of claims.filter((c) => c.kind !== 'claimed')) expect(claim).toEqual({ kind: 'held', until: at(60) })
  })

  test('an answer is recorded even if its row is gone, as after a restore', async () => {
    const it = subject()
    expect(await recordAnswer(db(), it, answer(5, { outcome: 'accepted', status: '2.0.0' }))).toMatchObject({
      outcome: 'accepted',
      retry: 1,
    })
    expect(await answeredAttempts(db(), it.messageId, it.recipient)).toMatchObject([{ outcome: 'accepted', at: at(5) }])
    expect(await claimAttempt(opened.database, it, 'a', at(6), at(60))).toMatchObject({ kind: 'answered' })
  })

  test('only the holder can renew a claim', async () => {
    const it = subject()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    expect(await renewClaim(opened.database, it, 'a', at(120))).toBe(true)
    expect(await renewClaim(opened.database, it, 'b', at(999))).toBe(false)
    expect(await claimAttempt(opened.database, it, 'b', at(61), at(200))).toEqual({ kind: 'held', until: at(120) })
    await recordAnswer(db(), it, answer(100), 'a')
    expect(await renewClaim(opened.database, it, 'a', at(180))).toBe(false)
  })

  test('an expired claim is taken over, and shows whether the message may have been sent', async () => {
    const it = subject()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    expect(await claimAttempt(opened.database, it, 'b', at(59), at(120))).toMatchObject({ kind: 'held' })
    expect(await claimAttempt(opened.database, it, 'b', at(60), at(120))).toMatchObject({ kind: 'claimed', unanswered: false })
    // the first worker continues: it must not send
    expect(await beginSend(opened.database, it, 'a', at(200))).toBe(false)
    expect(await beginSend(opened.database, it, 'b', at(200))).toBe(true)
    expect(await claimAttempt(opened.database, it, 'c', at(150), at(300))).toMatchObject({ kind: 'held', until: at(200) })
    expect(await claimAttempt(opened.database, it, 'c', at(200), at(300))).toMatchObject({ kind: 'claimed', unanswered: true, sends: 1 })
  })

  test('the first answer is final, and later claims find it', async () => {
    const it = subject()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    await recordAnswer(db(), it, answer(5))
    expect(await recordAnswer(db(), it, answer(6, { outcome: 'accepted', status: '2.0.0' }))).toMatchObject({
      outcome: 'deferred',
      at: at(5),
    })
    const found = await claimAttempt(opened.database, it, 'b', at(100), at(200))
    expect(found).toMatchObject({ kind: 'answered', row: { outcome: 'deferred', reply: '421 4.3.2 no', at: at(5), retry: 1 } })
    expect(await beginSend(opened.database, it, 'a', at(200))).toBe(false)
  })

  test('a released attempt can be claimed at once, and keeps its state', async () => {
    const it = subject()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    await beginSend(opened.database, it, 'a', at(100))
    await releaseClaim(db(), it, 'a', { lostAt: at(3) })
    expect(await claimAttempt(opened.database, it, 'b', at(4), at(60))).toMatchObject({
      kind: 'claimed',
      lostAt: at(3),
      unanswered: false,
      sends: 1,
    })
    await beginSend(opened.database, it, 'b', at(100))
    await releaseClaim(db(), it, 'b', { notSent: true, silentSince: at(5) })
    expect(await claimAttempt(opened.database, it, 'c', at(6), at(60))).toMatchObject({ kind: 'claimed', sends: 1, silentSince: at(5) })
    // a claim of another worker is not released
    await releaseClaim(db(), it, 'b', {})
    expect(await claimAttempt(opened.database, it, 'd', at(7), at(60))).toMatchObject({ kind: 'held' })
  })

  test('findAttempt shows free, held or answered without a claim; only the holder may record an answer', async () => {
    const it = subject()
    const look = (seconds: number) => findAttempt(db(), it, at(seconds))
    expect(await look(0)).toBeNull()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    expect(await look(59)).toEqual({ kind: 'held', until: at(60) })
    expect(await look(60)).toBeNull()
    expect(await recordAnswer(db(), it, answer(5), 'b')).toBeNull()
    await releaseClaim(db(), it, 'a', {})
    expect(await look(5)).toBeNull()
    await claimAttempt(opened.database, it, 'b', at(6), at(60))
    await recordAnswer(db(), it, answer(7), 'b')
    expect(await look(8)).toMatchObject({ kind: 'answered', row: { at: at(7), outcome: 'deferred' } })
  })

  test('promise 6: retries of a message to a recipient are counted across workflows', async () => {
    const messageId = randomUUID()
    for (const [retry, seconds] of [
      [1, 10],
      [2, 20],
    ] as const) {
      const it = subject({ messageId, retry })
      await claimAttempt(opened.database, it, 'a', at(0), at(60))
      await recordAnswer(db(), it, answer(seconds, { maybeDelivered: retry === 2 }))
    }
    await claimAttempt(opened.database, subject({ messageId, retry: 3 }), 'a', at(0), at(60))
    await claimAttempt(opened.database, subject({ messageId, recipient: 'eve@example.org' }), 'a', at(0), at(60))
    const rows = await answeredAttempts(db(), messageId, 'ann@example.org')
    expect(rows.map(toAttempt)).toEqual([
      { retry: 1, at: at(10).toISOString(), outcome: 'deferred', status: '4.3.2', reply: '421 4.3.2 no', mailServer: 'mx.example.org' },
      {
        retry: 2,
        at: at(20).toISOString(),
        outcome: 'deferred',
        status: '4.3.2',
        reply: '421 4.3.2 no',
        mailServer: 'mx.example.org',
        maybeDelivered: true,
      },
    ])
  })

  test('a notification’s outcome is kept in addition to the relay’s reply', async () => {
    const it = subject()
    await claimAttempt(opened.database, it, 'a', at(0), at(60))
    await recordAnswer(db(), it, answer(5, { outcome: 'accepted', relayed: true, status: '2.0.0', stage: 'final dot' }))
    await recordReport(db(), it, { at: at(50), status: '4.4.7', reply: 'delivery time expired' })
    const row = await db().selectFrom('attempts').selectAll().where('first_run_id', '=', it.firstRunId).executeTakeFirstOrThrow()
    const [logged] = await answeredAttempts(db(), it.messageId, it.recipient)
    expect(logged && toAttempt(logged)).toMatchObject({ outcome: 'deferred', status: '4.4.7', reply: 'delivery time expired' })
    expect(row).toMatchObject({ outcome: 'accepted', reported_at: at(50).getTime(), reported_status: '4.4.7' })
  })

  test('a recent answer of another destination proves that our network works; connect failures and relays do not', async () => {
    const since = at(100_000)
    const here = subject({ destination: 'one.example' })
    await claimAttempt(opened.database, here, 'a', at(0), at(60))
    await recordAnswer(db(), here, answer(100_010))
    expect(await otherDestinationReached(db(), 'one.example', since)).toBe(false)
    const refused = subject({ destination: 'two.example' })
    await claimAttempt(opened.database, refused, 'a', at(0), at(60))
    await recordAnswer(db(), refused, answer(100_020, { stage: 'connect' }))
    const relayed = subject({ destination: 'four.example' })
    await claimAttempt(opened.database, relayed, 'a', at(0), at(60))
    await recordAnswer(db(), relayed, answer(100_030, { relayed: true, outcome: 'accepted', stage: 'final dot' }))
    expect(await otherDestinationReached(db(), 'one.example', since)).toBe(false)
    expect(await otherDestinationReached(db(), 'three.example', since)).toBe(true)
    expect(await otherDestinationReached(db(), 'three.example', at(100_011))).toBe(false)
  })

  test('the latest end of a message to a recipient is found', async () => {
    const end = {
      messageId: randomUUID(),
      recipient: 'ann@example.org',
      workflowId: 'w',
      firstRunId: 'r1',
      outcome: 'suppressed' as const,
      confirmed: false,
      suppressedUntil: at(100),
      endedAt: at(1),
    }
    expect(await findEnd(db(), end.messageId, end.recipient)).toBeNull()
    await recordEnd(db(), end)
    await recordEnd(db(), { ...end, firstRunId: 'r2', outcome: 'delivered', confirmed: true, suppressedUntil: null, endedAt: at(2) })
    expect(await findEnd(db(), end.messageId, end.recipient)).toMatchObject({
      firstRunId: 'r2',
      outcome: 'delivered',
      confirmed: true,
      suppressedUntil: null,
    })
  })
})

onBothDatabases('kept messages', (opened) => {
  const db = () => opened.database.db
  const content = (text: string) => Buffer.from(`From: a@b\r\n\r\n${text}\u0000\u00ff`, 'latin1')

  test('messages are stored byte for byte, equal ones once', async () => {
    const key = await storeMessage(db(), content('one'), at(0))
    expect(key).toBe(messageKey(content('one')))
    expect(await storeMessage(db(), content('one'), at(1))).toBe(key)
    expect((await loadMessage(db(), key))?.equals(content('one'))).toBe(true)
    expect(await loadMessage(db(), 'sha256-none')).toBeNull()
  })

  test('messages are purged after their retention, but not while a workflow needs them', async () => {
    const needed = await storeMessage(db(), content('needed'), at(0))
    const done = await storeMessage(db(), content('done'), at(0))
    const fresh = await storeMessage(db(), content('fresh'), at(1000))
    await holdMessage(db(), { key: needed, workflowId: 'w1', firstRunId: 'run-needed' })
    await holdMessage(db(), { key: done, workflowId: 'w2', firstRunId: 'run-done' })
    expect(await useMessage(db(), done, at(0))).toBe(true)
    expect(await useMessage(db(), 'sha256-none', at(0))).toBe(false)
    expect((await staleHolds(db(), at(500), '', 10)).map((h) => h.firstRunId).sort()).toEqual(['run-done', 'run-needed'])
    await releaseHolds(db(), 'run-done')
    await purgeMessages(db(), at(500))
    expect(await loadMessage(db(), done)).toBeNull()
    expect(await loadMessage(db(), needed)).not.toBeNull()
    expect(await loadMessage(db(), fresh)).not.toBeNull()
  })
})
