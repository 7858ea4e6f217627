import { beforeEach, describe, expect, test } from 'vitest'
import {
  alreadyHandled,
  findQuarantined,
  findSent,
  type InboundReport,
  listBounces,
  loadMessage,
  purgeInbound,
  purgeSent,
  quarantine,
  recordInbound,
  recordSent,
  sendAnsweredAt,
  storeSent,
  trimInbound,
  wasSent,
} from '../../src/store/index.js'
import { activeSuppressions, suppressLastingly } from '../../src/suppression/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const NOW = new Date('2026-11-25T08:00:00Z')
const later = (ms: number) => new Date(NOW.getTime() + ms)
const HOUR = 3_600_000
const one = (n: number, more = {}) => ({
  id: n.toString(16).padStart(20, '0'),
  messageId: 'm@example.com',
  recipient: `p${n}@example.org`,
  envelopeRecipient: `P${n}@example.org`,
  sender: 'shop@example.com',
  options: null,
  ...more,
})
const taken = (n: number, more: Partial<InboundReport> = {}): InboundReport => ({
  at: later(n),
  source: 'lmtp',
  cameTo: 'bounce+x@example.com',
  reportingMta: null,
  messageId: null,
  recipient: `p${n}@example.org`,
  kind: 'bounce',
  action: 'failed',
  status: '4.3.2',
  diagnostic: null,
  disposition: 'retry-started',
  why: 'x',
  workflowId: null,
  event: null,
  ...more,
})

onBothDatabases('what was sent, and what came back', (opened) => {
  const database = () => opened.database
  const db = () => database().db
  beforeEach(async () => {
    for (const table of ['sent_messages', 'inbound', 'quarantine', 'messages'] as const) await db().deleteFrom(table).execute()
  })

  describe('what was sent', () => {
    test('a message is recorded with any number of recipients; sending it again resets its time', async () => {
      const content = Buffer.from('Subject: x\r\n\r\n\xff', 'latin1')
      const all = Array.from({ length: 1201 }, (_, n) => one(n + 1, n === 0 ? { options: '{"urgent":true}' } : {}))
      await storeSent(database(), content, all, NOW)
      const first = await findSent(db(), all[0]?.id as string)
      expect(first).toMatchObject({
        recipient: 'p1@example.org',
        envelopeRecipient: 'P1@example.org',
        sentAt: NOW,
        options: '{"urgent":true}',
      })
      expect((await loadMessage(db(), first?.messageKey as string))?.equals(content)).toBe(true)
      expect(await findSent(db(), all[1200]?.id as string)).not.toBeNull()
      await storeSent(database(), content, [one(1)], later(HOUR))
      expect(await findSent(db(), one(1).id)).toMatchObject({ sentAt: later(HOUR), options: null })
      expect(await wasSent(db(), 'm@example.com')).toBe(true)
      expect(await wasSent(db(), 'other@example.com')).toBe(false)
    })

    test('a retry records an unknown send, and leaves a known one unchanged', async () => {
      await recordSent(db(), { ...one(1), messageKey: 'k1', sentAt: NOW })
      await recordSent(db(), { ...one(1), messageKey: 'k2', sentAt: later(HOUR) })
      expect(await findSent(db(), one(1).id)).toMatchObject({ messageKey: 'k1', sentAt: NOW })
      expect(await purgeSent(db(), later(1))).toBe(1)
      expect(await findSent(db(), one(1).id)).toBeNull()
      expect(await sendAnsweredAt(db(), 'm@example.com', 'p1@example.org', 1)).toBeNull()
    })
  })

  describe('bounces', () => {
    test('bounces are listed newest first by page and filter, recognized if repeated, and purged with the messages', async () => {
      for (let n = 0; n < 1100; n += 100)
        await recordInbound(
          db(),
          Array.from({ length: 100 }, (_, i) =>
            taken(n + i, { disposition: (n + i) % 2 === 0 ? 'unauthenticated' : 'retry-started', event: `e${n + i}` }),
          ),
        )
      const some: InboundReport[] = []
      for await (const bounce of listBounces(db(), ['unauthenticated'], 540)) some.push(bounce)
      expect(some).toHaveLength(540)
      expect(some[0]?.at).toEqual(later(1098))
      expect(some.every((b, i) => i === 0 || b.at < (some[i - 1] as InboundReport).at)).toBe(true)
      expect([await alreadyHandled(db(), 'e7'), await alreadyHandled(db(), 'e')]).toEqual([true, false])
      // handled events are kept for as long as they may be repeated
      expect(await purgeInbound(db(), later(1000), later(0))).toBe(0)
      expect(await alreadyHandled(db(), 'e7')).toBe(true)
      expect(await purgeInbound(db(), later(1000), later(1000))).toBe(1000)
    })

    test('long texts are truncated, and an unreadable mail is kept once, byte for byte', async () => {
      await recordInbound(db(), [
        taken(1, { diagnostic: 'd'.repeat(5000), why: 'w'.repeat(5000), reportingMta: 'a\0b', recipient: 'c\0@d', cameTo: '\0' }),
      ])
      for await (const bounce of listBounces(db(), null, 1)) expect([bounce.diagnostic?.length, bounce.why.length]).toEqual([1000, 1000])
      const content = Buffer.from([0, 255, 10, 13])
      for (let i = 0; i < 2; i += 1)
        await quarantine(db(), { digest: 'aa', at: NOW, source: 'pipe', cameTo: null, content, why: 'x' }, 1_000_000)
      expect((await findQuarantined(db(), 'aa'))?.equals(content)).toBe(true)
      expect(await findQuarantined(db(), 'bb')).toBeNull()
    })
  })

  test('the log of reports has a limit: strangers go first, then the oldest; what was acted on stays', async () => {
    const { db: all } = database()
    await all.deleteFrom('inbound').execute()
    const row = (n: number, more: Partial<InboundReport>) => taken(n, { recipient: `r${n}@limit.example`, event: null, ...more })
    await recordInbound(
      all,
      Array.from({ length: 60 }, (_, n) =>
        row(
          n,
          n < 20 ? { disposition: 'ignored' } : n < 50 ? { disposition: 'unauthenticated' } : { disposition: 'suppressed', event: `t${n}` },
        ),
      ),
    )
    // 50 count: 10 more than 40, and 2 in advance
    expect(await trimInbound(database(), 40)).toBe(12)
    const left = async () =>
      (await all.selectFrom('inbound').select('recipient').orderBy('id').execute()).map((one) =>
        Number(/\d+/.exec(one.recipient ?? '')?.[0]),
      )
    expect(await left()).toEqual([...Array(20).keys(), ...Array.from({ length: 28 }, (_, i) => 32 + i)])
    expect(await trimInbound(database(), 40)).toBe(0)
    // when no stranger is left, the oldest of the others
    expect(await trimInbound(database(), 10)).toBe(28)
    expect(await left()).toEqual([...Array.from({ length: 10 }, (_, i) => 10 + i), ...Array.from({ length: 10 }, (_, i) => 50 + i)])
  })

  test('the quarantine has a limit of bytes: who holds most loses its oldest mail', async () => {
    const { db: all } = database()
    await all.deleteFrom('quarantine').execute()
    const add = (n: number, bytes: number, cameTo: string | null = `b+${n}@example.com`) =>
      quarantine(all, { digest: `q${n}`, at: later(n), source: 'lmtp', cameTo, content: Buffer.alloc(bytes, 'x'), why: 'y' }, 1000)
    const kept = async () => (await all.selectFrom('quarantine').select('digest').orderBy('at').execute()).map(({ digest }) => digest)
    for (let n = 0; n < 5; n += 1) expect(await add(n, 300)).toBe(true)
    // all hold as much: the oldest goes
    expect(await kept()).toEqual(['q2', 'q3', 'q4'])
    expect(await add(5, 1001)).toBe(false)
    // a flood to one return path, or without one, pushes out itself, and not the little that others hold
    await all.deleteFrom('quarantine').execute()
    expect(await add(6, 100)).toBe(true)
    for (let n = 10; n < 20; n += 1) expect(await add(n, 300, 'b+flood@example.com')).toBe(true)
    expect(await kept()).toEqual(['q6', 'q17', 'q18', 'q19'])
    for (let n = 20; n < 60; n += 1) expect(await add(n, 300, null)).toBe(true)
    expect((await kept())[0]).toBe('q6')
    expect(await kept()).toHaveLength(4)
  })

  test('at most ten unreadable mails of one return path are kept, also if they come at once', async () => {
    const { db: all } = database()
    await all.deleteFrom('quarantine').execute()
    const add = (n: number) =>
      quarantine(
        all,
        { digest: `e${n}`, at: later(n), source: 'lmtp', cameTo: `b+each@d${n}.example`, content: Buffer.from(`${n}`), why: 'y' },
        1_000_000,
      )
    const kept = await Promise.all(Array.from({ length: 30 }, (_, n) => add(n)))
    expect(kept.filter((one) => one)).toHaveLength(10)
    // the same mail again is kept already
    expect(await add(kept.indexOf(true))).toBe(true)
  })

  test('active suppressions among many addresses are found in one query', async () => {
    const cause = { status: null, reply: null, by: 'test', destination: null }
    await db()
      .transaction()
      .execute(async (tx) => {
        await suppressLastingly(tx, 'a1@many.example', 'complaint', cause, NOW)
        await suppressLastingly(tx, 'a2@many.example', 'manual', cause, NOW, later(HOUR))
      })
    const keys = Array.from({ length: 3000 }, (_, n) => `a${n}@many.example`)
    expect((await activeSuppressions(database(), keys, NOW)).map((s) => s.address).sort()).toEqual(['a1@many.example', 'a2@many.example'])
    expect((await activeSuppressions(database(), keys, later(2 * HOUR))).map((s) => s.reason)).toEqual(['complaint'])
    expect(await activeSuppressions(database(), [], NOW)).toEqual([])
  })
})
