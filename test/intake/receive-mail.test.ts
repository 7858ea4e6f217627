import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULT_RETRY_STATUSES, effectiveStatus, parseRetryStatuses } from '../../src/bounce/index.js'
import { UnretryableBounce } from '../../src/client/index.js'
import { canonicalMessage, dayOf, type ReturnPaths, sentId, signReturnPath } from '../../src/delivery/index.js'
import { MailReceiver } from '../../src/intake/index.js'
import { type InboundReport, listBounces, recordEnd, recordSent, storeSent } from '../../src/store/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { type AttemptReport, complaint, qmailNotice, report } from '../support/bounce-mails.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { DAY, eventually, HOUR, MESSAGE } from '../support/skipping-time.js'

const returnPaths: ReturnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }
const OWN = ['mail.example.com', '*.inside.example.com', '192.0.2.10', '198.51.100.64/26']
const CONTENT = canonicalMessage(Buffer.from(MESSAGE))
let world: RealWorld
let intake: MailReceiver
let trusted: MailReceiver
beforeAll(async () => {
  world = await startRealWorld({})
  const settings = { returnPaths, ownHosts: OWN, retryStatuses: parseRetryStatuses(DEFAULT_RETRY_STATUSES) }
  const more = { client: world.client, database: world.database, now: () => new Date() }
  intake = new MailReceiver({ ...more, settings: { ...settings, isTrusted: false } })
  trusted = new MailReceiver({ ...more, settings: { ...settings, isTrusted: true } })
})
afterAll(() => world.close())

interface Sent {
  readonly messageId: string
  readonly recipient: string
  readonly returnPath: string
  readonly workflowId: string
}
let n = 0
/** Records a message as sent some hours ago. */
async function sent(options: object | null = null, hoursAgo = 3): Promise<Sent> {
  n += 1
  const messageId = `m${n}@example.com`
  const recipient = `p${n}@example.org`
  const at = new Date(Date.now() - hoursAgo * HOUR)
  const id = sentId(messageId, recipient)
  const row = {
    id,
    messageId,
    recipient,
    envelopeRecipient: recipient,
    sender: 'shop@example.com',
    options: options === null ? null : JSON.stringify(options),
  }
  await storeSent(world.database, CONTENT, [row], at)
  return {
    messageId,
    recipient,
    returnPath: signReturnPath(returnPaths, { id, day: dayOf(at), send: 0 }, 'shop@example.com'),
    workflowId: world.client.workflowId(recipient, messageId),
  }
}
const take = (mail: Buffer, to: string, by = intake) => by.take(mail, { recipients: [to], sender: '' }, 'lmtp')
const takeFrom = (sender: string, mail: Buffer, to: string) => intake.take(mail, { recipients: [to], sender }, 'lmtp')
const suppressed = (address: string) => findSuppression(world.database.db, address, new Date())
const events = async (workflowId: string) => (await world.temporal.workflow.getHandle(workflowId).fetchHistory()).events ?? []
const signals = async (workflowId: string) =>
  (await events(workflowId)).flatMap((e) => {
    const { signalName, input } = e.workflowExecutionSignaledEventAttributes ?? {}
    return signalName == null ? [] : [JSON.parse(Buffer.from(input?.payloads?.[0]?.data ?? []).toString())]
  })
async function noted(limit = 1): Promise<InboundReport[]> {
  const found: InboundReport[] = []
  for await (const bounce of listBounces(world.database.db, null, limit)) found.push(bounce)
  return found
}

describe('a bounce to a signed return path', () => {
  test('a bounce retries the stored message, whatever recipient and message the report names', async () => {
    const one = await sent({ urgent: true, schedule: ['2h'] })
    const at = new Date(Date.now() - HOUR).toUTCString()
    const mail = report(
      { recipient: one.recipient, lastAttempt: at },
      { original: 'Content-Type: message/rfc822\r\n\r\nMessage-ID: <other@example.com>\r\n\r\nOther' },
    )
    expect(await take(mail, one.returnPath)).toMatchObject([
      { disposition: 'retry-started', workflowId: one.workflowId, recipient: one.recipient },
    ])
    const [started] = await events(one.workflowId)
    const input = JSON.parse(Buffer.from(started?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data ?? []).toString())
    expect(input).toMatchObject({
      messageId: one.messageId,
      sender: 'shop@example.com',
      recipient: one.recipient,
      urgent: true,
      schedule: ['2h'],
    })
    expect(input.message.stored).toMatch(/^[0-9a-f]{8}:sha256-/)
    expect(input.bounce).toMatchObject({ status: '4.3.2', bouncedAt: new Date(at).toISOString(), remoteMta: 'mx.example.org' })
    expect(await noted()).toMatchObject([
      { disposition: 'retry-started', cameTo: one.returnPath, status: '4.3.2', source: 'lmtp', reportingMta: 'mail.example.net' },
    ])
  })

  test('a bounce received repeatedly acts once', async () => {
    const one = await sent()
    const mail = report({ recipient: one.recipient })
    expect((await take(mail, one.returnPath))[0]?.disposition).toBe('retry-started')
    for (const again of [
      mail,
      report({ recipient: one.recipient, diagnostic: '421 4.3.2 still' }),
      qmailNotice(one.recipient, '421 4.3.2 no'),
    ])
      expect(await take(again, one.returnPath.toUpperCase())).toMatchObject([
        { disposition: 'ignored', why: 'it was reported before, and handled then' },
      ])
    expect(await signals(one.workflowId)).toHaveLength(1)
  })

  test('an oversized or malformed Remote-MTA is truncated, and the bounce still acts', async () => {
    const one = await sent()
    const mail = report({ recipient: one.recipient, remoteMta: `mx.example.org ${'\u0001'.repeat(400_000)}` })
    expect(await take(mail, one.returnPath)).toMatchObject([{ disposition: 'retry-started' }])
    expect((await signals(one.workflowId))[0].remoteMta).toMatch(/^mx\.example\.org .{0,240}$/)
  })

  test('delay notices update the retry only up to the longest queue time of a mail system', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    const told: string[] = []
    for (let days = -50; days < 400; days += 10) {
      const willRetryUntil = new Date(Date.now() + days * 24 * HOUR).toUTCString()
      const delayed = report({ recipient: one.recipient, action: 'delayed', status: '4.4.1', willRetryUntil })
      told.push((await take(delayed, one.returnPath))[0]?.disposition ?? '')
    }
    // in the past, in 10 and 20 days, and the latest day that counts
    expect(told.filter((done) => done === 'retry-updated')).toHaveLength(4)
  })

  test('a bounce too large for Temporal is refused as unretryable', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    const huge = { status: '4.3.2', bouncedAt: new Date().toISOString(), diagnostic: 'x'.repeat(5_000_000) }
    await expect(world.client.bouncedAgain({ workflowId: one.workflowId }, huge)).rejects.toThrow(UnretryableBounce)
  })

  test('a permanent rejection of the recipient suppresses for good, and signals the open retry', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    expect(await take(qmailNotice(one.recipient, '550 5.1.1 no such user'), one.returnPath)).toMatchObject([{ disposition: 'suppressed' }])
    expect(await suppressed(one.recipient)).toMatchObject({ reason: 'rejected', status: '5.1.1', until: null })
    expect((await signals(one.workflowId)).map((s) => s.status)).toEqual(['4.3.2', '5.1.1'])
  })

  test.each([
    ['delayed', { action: 'delayed', status: '4.4.1' }, 'it was delayed; no retry of it is open'],
    ['delivered', { action: 'delivered', status: '2.0.0', diagnostic: '250 Ok' }, 'it was delivered; no retry of it is open'],
    ['refused for another reason', { status: '5.7.1', diagnostic: '550 5.7.1 spam' }, 'no retry of it is open'],
    ['transient, and not retried', { status: '4.2.2', diagnostic: '452 4.2.2 full' }, 'not among the statuses that are retried'],
  ])('a report "%s" starts nothing', async (_, about, why) => {
    const one = await sent()
    expect(await take(report({ recipient: one.recipient, ...about } as AttemptReport), one.returnPath)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining(why) },
    ])
    expect(await world.client.isOpen({ workflowId: one.workflowId })).toBe(false)
    expect(await suppressed(one.recipient)).toBeNull()
  })

  test('a bounce of a retry counts for that retry only', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    const ofRetry = (send: number) =>
      signReturnPath(returnPaths, { id: sentId(one.messageId, one.recipient), day: dayOf(new Date()), send }, 'shop@example.com')
    // a relay that gives up after days reports 5.4.7: the underlying failure was transient
    expect(await take(report({ recipient: one.recipient, status: '5.4.7', diagnostic: '' }), ofRetry(1))).toMatchObject([
      { disposition: 'retry-updated' },
    ])
    expect(await take(report({ recipient: one.recipient }), ofRetry(1))).toMatchObject([{ disposition: 'ignored' }])
    expect(
      await take(report({ recipient: one.recipient, action: 'relayed', status: '2.0.0', diagnostic: '250 ok' }), ofRetry(2)),
    ).toMatchObject([{ disposition: 'retry-updated' }])
    const told = await signals(one.workflowId)
    expect(told.map((s) => [s.action, s.status])).toEqual([
      ['failed', '4.3.2'],
      ['failed', '4.4.7'],
      ['relayed', '2.0.0'],
    ])
    expect(new Set(told.map((s) => s.token)).size).toBe(3)
  })

  test('reported times are clamped between the send and now', async () => {
    for (const [lastAttempt, least, most] of [
      [new Date(Date.now() + 40 * DAY), -HOUR / 60, 0],
      [new Date(0), -3 * HOUR - 1000, -3 * HOUR + HOUR / 60],
    ] as const) {
      const one = await sent()
      await take(report({ recipient: one.recipient, lastAttempt: lastAttempt.toUTCString() }), one.returnPath)
      const [told] = await signals(one.workflowId)
      const age = Date.parse(told.bouncedAt) - Date.now()
      expect(age).toBeGreaterThanOrEqual(least)
      expect(age).toBeLessThanOrEqual(most)
    }
  })

  test('if a forwarding target failed, recipient and destination stay the original ones', async () => {
    const one = await sent()
    await take(report({ recipient: 'target@elsewhere.example', remoteMta: 'mx.elsewhere.example' }), one.returnPath)
    const [told] = await signals(one.workflowId)
    expect(told.remoteMta).toBeUndefined()
    expect(await world.client.isOpen({ workflowId: one.workflowId })).toBe(true)
  })

  test('a report that names several other recipients is rejected', async () => {
    const one = await sent()
    const mail = report({ recipient: 'x@elsewhere.example' }, { more: [{ recipient: 'y@elsewhere.example' }] })
    expect(await take(mail, one.returnPath)).toMatchObject([{ disposition: 'unauthenticated' }])
    expect(await world.client.isOpen({ workflowId: one.workflowId })).toBe(false)
  })

  test('an automatic reply does nothing; an unreadable mail is quarantined, listed and shown', async () => {
    const one = await sent()
    const vacation = Buffer.from(
      'From: Ann <ann@example.org>\r\nAuto-Submitted: auto-replied\r\nSubject: Out of office\r\n\r\nBack on Monday.',
    )
    expect(await take(vacation, one.returnPath)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining('automatic answer') },
    ])
    const letter = Buffer.from('From: Ann <ann@example.org>\r\nSubject: hello\r\n\r\nHow are you?')
    const [kept] = await take(letter, one.returnPath)
    expect(kept).toMatchObject({ disposition: 'unreadable' })
    const digest = /kept as ([0-9a-f]{64})/.exec(kept?.why ?? '')?.[1] as string
    expect((await world.cli('bounces', '--show', digest)).stdout).toBe(letter.toString())
    const listed = await world.cli('bounces', '--unread', '--json')
    expect(JSON.parse(listed.stdout.split('\n')[0] as string)).toMatchObject({ disposition: 'unreadable', cameTo: one.returnPath })
  })

  test('a plain sentence with a reply code is enough, since the token says the rest', async () => {
    const one = await sent()
    const notice = Buffer.from(
      'From: Mail <noreply@mail.example>\r\nSubject: your message\r\n\r\nYour message could not be delivered: 421 4.3.2 too many connections\r\n',
    )
    expect(await take(notice, one.returnPath)).toMatchObject([{ disposition: 'retry-started', workflowId: one.workflowId }])
  })

  test('the recipient who answers, and quotes a code, is a person', async () => {
    const one = await sent()
    const answer = (from: string, subject: string) =>
      Buffer.from(
        `Return-Path: <${from}>\r\nFrom: ${from}\r\nSubject: ${subject}\r\n\r\nYour mail to my colleague came back: 550 5.1.1 user unknown\r\n`,
      )
    for (const [from, subject] of [
      [one.recipient, 'hello'],
      ['colleague@example.org', 'Re: Your order'],
    ] as const)
      expect(await takeFrom(from, answer(from, subject), one.returnPath)).toMatchObject([{ disposition: 'unreadable' }])
    expect(await suppressed(one.recipient)).toBeNull()
  })

  test.each<[string, Partial<AttemptReport>]>([
    ['of a member of its alias', { recipient: 'exmember@elsewhere.example', status: '5.1.1', diagnostic: '550 5.1.1 no such user' }],
    [
      'that quotes a callout for our own address',
      {
        status: '5.0.0',
        diagnostic:
          '550-Verification failed for <bounce+x@example.com> 550-Response: 550 5.1.1 <bounce+x@example.com>: User unknown 550 Sender verify failed',
      },
    ],
    ['that speaks of our reverse DNS', { status: '', diagnostic: '550 rejected: PTR for your IP address not found' }],
    ['that speaks of too many others', { status: '', diagnostic: '550 Too many invalid recipients' }],
    [
      'that speaks of a rate',
      {
        status: '5.2.1',
        diagnostic: '550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages',
      },
    ],
    ['that says nothing at all', { status: '', diagnostic: '' }],
  ])('a report %s suppresses nobody', async (_, about) => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    const [taken] = await take(report({ recipient: one.recipient, originalRecipient: one.recipient, ...about }), one.returnPath)
    expect(taken?.disposition).not.toBe('suppressed')
    expect(await suppressed(one.recipient)).toBeNull()
    // nor by the status that the workflow derives
    for (const told of await signals(one.workflowId)) expect(['4.3.2', '5.0.0', '4.0.0']).toContain(effectiveStatus(told))
  })

  test('an attached report about another recipient is ignored', async () => {
    const one = await sent()
    const inner = report({ recipient: 'someone.else@third.example', status: '5.1.1', diagnostic: '550 5.1.1 no' }).toString()
    const answer = Buffer.from(
      `From: Ann <ann@example.org>\r\nSubject: look\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/plain\r\n\r\nLook.\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n${inner}\r\n--o--\r\n`,
    )
    expect(await take(answer, one.returnPath)).toMatchObject([{ disposition: 'unreadable' }])
    expect(await suppressed(one.recipient)).toBeNull()
  })

  test('an unauthenticated Remote-MTA does not affect routing', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient, remoteMta: 'mx.partner.com' }), one.returnPath)
    expect((await signals(one.workflowId))[0].remoteMta).toBeUndefined()
  })

  test('a bounce of a restarted retry with a reused number counts too', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    const path = signReturnPath(
      returnPaths,
      { id: sentId(one.messageId, one.recipient), day: dayOf(new Date()), send: 1 },
      'shop@example.com',
    )
    for (const [run, at] of [
      ['first', Date.now() - 2 * HOUR],
      ['again', Date.now() - HOUR],
    ] as const) {
      const row = {
        first_run_id: `${run}-${n}`,
        retry: 1,
        workflow_id: one.workflowId,
        message_id: one.messageId,
        recipient: one.recipient,
        destination: 'example.org',
      }
      await world.database.db
        .insertInto('attempts')
        .values({ ...row, sends: 1, begun_at: at, at, outcome: 'accepted', maybe_delivered: 0, relayed: 1 })
        .execute()
      expect((await take(report({ recipient: one.recipient }), path))[0]?.disposition, run).toBe('retry-updated')
      expect((await take(report({ recipient: one.recipient }), path))[0]?.disposition, run).toBe('ignored')
    }
  })

  test('after a final end or lasting suppression no start is reported', async () => {
    const one = await sent()
    const key = {
      messageId: one.messageId,
      recipient: one.recipient,
      workflowId: one.workflowId,
      firstRunId: 'x',
      suppressedUntil: null,
      endedAt: new Date(),
    }
    for (const [outcome, confirmed] of [
      ['cancelled', false],
      ['delivered', true],
    ] as const) {
      await recordEnd(world.database.db, { ...key, outcome, confirmed })
      expect(await take(report({ recipient: one.recipient }), one.returnPath)).toMatchObject([
        { disposition: 'ignored', why: expect.stringContaining(`ended before, as ${outcome}`) },
      ])
    }
    await recordEnd(world.database.db, { ...key, outcome: 'delivered', confirmed: false })
    expect(await take(report({ recipient: one.recipient }), one.returnPath)).toMatchObject([{ disposition: 'retry-started' }])
    const gone = await sent()
    await take(report({ recipient: gone.recipient, status: '5.1.1', diagnostic: '550 5.1.1 no' }), gone.returnPath)
    expect(await take(report({ recipient: gone.recipient }), gone.returnPath)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining('suppressed for good') },
    ])
  })

  test('the return path determines recipient and message, whatever the report names', async () => {
    const one = await sent()
    await take(
      report(
        { recipient: 'victim@example.net' },
        { original: 'Content-Type: message/rfc822\r\n\r\nMessage-ID: <other@example.com>\r\n\r\nx' },
      ),
      one.returnPath,
    )
    expect(await noted()).toMatchObject([{ recipient: one.recipient, messageId: one.messageId }])
  })

  test('the quarantine is bounded', async () => {
    const one = await sent()
    for (let i = 0; i < 12; i += 1) await take(Buffer.from(`From: a@example.org\r\nSubject: ${i}\r\n\r\nx`), one.returnPath)
    const kept = await world.database.db.selectFrom('quarantine').select('digest').where('came_to', '=', one.returnPath).execute()
    expect(kept).toHaveLength(10)
    // the same return path in other spellings
    const [local = '', domain = ''] = one.returnPath.split('@')
    for (const other of [`${local.toUpperCase()}@${domain}`, `${local}@x7.${domain}`])
      await take(Buffer.from(`From: a@example.org\r\nSubject: ${other}\r\n\r\nx`), other)
    const all = await world.database.db.selectFrom('quarantine').select('came_to').execute()
    expect(all.filter(({ came_to }) => came_to?.toLowerCase().startsWith(local.toLowerCase()))).toHaveLength(10)
    expect((await noted())[0]).toMatchObject({ disposition: 'unreadable', why: expect.stringContaining('not kept') })
  })

  test('a temporary database failure does not count as handled', async () => {
    const one = await sent()
    const failing = {
      ...world.database,
      db: world.database.db.withPlugin({
        transformQuery: () => {
          throw new Error('connection terminated')
        },
        transformResult: async ({ result }) => result,
      }),
    }
    const broken = new MailReceiver({
      client: world.client,
      database: failing,
      settings: { returnPaths, ownHosts: OWN, isTrusted: true, retryStatuses: parseRetryStatuses(DEFAULT_RETRY_STATUSES) },
      now: () => new Date(),
    })
    await expect(take(report({ recipient: one.recipient }), one.returnPath, broken)).rejects.toThrow('connection terminated')
    expect((await take(report({ recipient: one.recipient }), one.returnPath))[0]?.disposition).toBe('retry-started')
  })

  test('a missing stored original is reported', async () => {
    const one = await sent()
    await world.database.db
      .updateTable('sent_messages')
      .set({ message_key: 'sha256-gone' })
      .where('recipient', '=', one.recipient)
      .execute()
    expect(await take(report({ recipient: one.recipient }), one.returnPath)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining('no longer kept') },
    ])
  })
})

describe('a complaint', () => {
  test('a complaint with our return path suppresses for good and cancels open retries of the recipient', async () => {
    const one = await sent()
    await take(report({ recipient: one.recipient }), one.returnPath)
    // visibility is eventually consistent
    await eventually(async () => {
      for await (const open of world.client.list(one.recipient)) return open
      return null
    })
    expect(await take(complaint(one.returnPath), 'fbl@example.com')).toMatchObject([
      { disposition: 'suppressed', why: 'a complaint; 1 open retry cancelled' },
    ])
    expect(await suppressed(one.recipient)).toMatchObject({ reason: 'complaint', until: null })
    expect((await events(one.workflowId)).some((e) => e.workflowExecutionCancelRequestedEventAttributes != null)).toBe(true)
  })

  test('a complaint without our return path is rejected; an auth-failure report is no complaint', async () => {
    const one = await sent()
    expect(await take(complaint('shop@example.com'), 'fbl@example.com')).toMatchObject([{ disposition: 'unauthenticated' }])
    for (const type of ['auth-failure', 'not-spam'])
      for (const to of ['fbl@example.com', one.returnPath])
        expect(await take(complaint(one.returnPath, type), to)).toMatchObject([{ disposition: 'ignored' }])
    expect(await suppressed(one.recipient)).toBeNull()
  })
})

describe('at a trusted intake', () => {
  const INSIDE = 'Received: from shop.example.com (localhost [127.0.0.1]) by mail.example.com (Postfix) with ESMTP id 1'
  const ownNotice = (recipient: string, messageId: string, around = {}, received = INSIDE) =>
    report(
      { recipient },
      {
        reportingMta: 'mail.example.com',
        postfix: true,
        top: ['Received: by mail.example.com (Postfix)', '\tid 18987984102; Wed, 25 Nov 2026 08:00:00 +0000 (UTC)'],
        original: `Content-Type: message/rfc822\r\n\r\nReturn-Path: <bounces@example.com>\r\n${received}\r\nMessage-ID: <${messageId}>\r\nSubject: x\r\n\r\nHello`,
        ...around,
      },
    )

  test('a notification by our own mail system is accepted, and its complete original is retried', async () => {
    const [taken] = await take(ownNotice('ann@example.net', 'own1@example.com'), 'bounces@example.com', trusted)
    expect(taken).toMatchObject({ disposition: 'retry-started', workflowId: 'bounce/ann@example.net/own1@example.com' })
  })

  test('a hop between own hosts counts as inside', async () => {
    const top = [
      'Received: from mx1.inside.example.com (mx1.inside.example.com [198.51.100.77]) by mail.example.com',
      'Received: from anything (unknown [192.0.2.10]) by mx1.inside.example.com',
      'Received: from localhost (localhost [127.0.0.1]) by mx1.inside.example.com',
      'Received: from ex1.inside.example.com (198.51.100.80) by mx1.inside.example.com with Microsoft SMTP Server',
      'Received: from vm ([127.0.0.1]) by mx1.inside.example.com with LMTP',
      'Received: from [192.0.2.10] (helo=anything) by mx1.inside.example.com with esmtp (Exim 4.96)',
      'Received: from Debian-exim by mx1.inside.example.com with local (Exim 4.96)',
      'Received: from localhost (localhost) by mx1.inside.example.com (8.17.1.9/8.17.1.9) id 6AP3SWH1011022',
    ]
    expect(await take(ownNotice('bob@example.net', 'own2@example.com', { top }), 'bounces@example.com', trusted)).toMatchObject([
      { disposition: 'retry-started' },
    ])
  })

  test.each([
    ['another system made it', { reportingMta: 'mail.example.net' }, 'not among ownHosts'],
    ['it came from outside', { top: ['Received: from mail.example.com (evil.example [203.0.113.9]) by mail.example.com'] }, 'from outside'],
    ['only its greeting is ours', { top: ['Received: from mail.example.com by mail.example.com'] }, 'from outside'],
    [
      'its greeting is an address of ours (Exim)',
      { top: ['Received: from [203.0.113.9] (helo=[127.0.0.1]) by mail.example.com with esmtp'] },
      'from outside',
    ],
    [
      'its greeting is an address of ours (qmail)',
      { top: ['Received: from unknown (HELO [127.0.0.1]) (203.0.113.9) by mail.example.com with SMTP'] },
      'from outside',
    ],
    [
      'its ident is an address of ours (Sendmail)',
      { top: ['Received: from x (ident[127.0.0.1]@evil [203.0.113.9]) by mail.example.com'] },
      'from outside',
    ],
    ['its reverse DNS says our name', { top: ['Received: from x (mail.example.com [203.0.113.9]) by mail.example.com'] }, 'from outside'],
    ['nothing shows where it came from', { top: [] }, 'no Received field'],
    ['its address is unknown', { top: ['Received: from mail.example.com (unknown [203.0.113.9]) by mail.example.com'] }, 'from outside'],
  ])('%s: the report is rejected', async (_, around, why) => {
    const [taken] = await take(ownNotice('eve@example.net', 'own3@example.com', around), 'bounces@example.com', trusted)
    expect(taken).toMatchObject({ disposition: 'unauthenticated', why: expect.stringContaining(why) })
    expect(await world.client.isOpen({ recipient: 'eve@example.net', messageId: 'own3@example.com' })).toBe(false)
  })

  test.each<[string, string, string]>([
    [
      'from outside, with our address as its sender',
      'Received: from x (evil.example [203.0.113.9]) by mail.example.com with ESMTP id 1',
      'the original came from outside',
    ],
    [
      'from outside, behind a step of our own',
      `${'Received: from localhost (localhost [127.0.0.1]) by mail.example.com with ESMTP id 2'}\r\nReceived: from mail.example.com (evil.example [203.0.113.9]) by mail.example.com with ESMTPS id 1`,
      'the original came from outside',
    ],
    ['of which nothing shows where it came from', 'X-Nothing: here', 'no Received field'],
    ...[
      'from x (evil.example [203.0.113.9]) by mail.example.com with ESMTP id 1 for <"a with esmtpa b"@example.com>',
      'from x (evil.example [203.0.113.9]) (using TLSv1.3 (Client CN "x with esmtpsa y")) by mail.example.com (Postfix) with ESMTPS id 1',
      'from x by y with esmtpsa ( (evil.example [203.0.113.9]) by mail.example.com (Postfix) with ESMTP id 1',
      'from x by y with esmtpsa (evil.example [203.0.113.9]) by mail.example.com (Postfix) with ESMTP id 1',
    ].map((line): [string, string, string] => [
      'whose sender writes that it logged in',
      `Received: ${line}`,
      'the original came from outside',
    ]),
  ])('a report on a message %s is rejected', async (_, received, why) => {
    const [taken] = await take(ownNotice('eve@example.net', 'own5@example.com', {}, received), 'bounces@example.com', trusted)
    expect(taken).toMatchObject({ disposition: 'unauthenticated', why: expect.stringContaining(why) })
    expect(await world.client.isOpen({ recipient: 'eve@example.net', messageId: 'own5@example.com' })).toBe(false)
  })

  test('a message submitted with authentication counts as ours', async () => {
    const received =
      'Received: from laptop (dsl.example [203.0.113.5]) by mail.example.com (Postfix) with ESMTPSA id 1\r\nReceived: from anywhere (x [198.51.100.1]) by laptop'
    expect(await take(ownNotice('bob@example.net', 'own6@example.com', {}, received), 'bounces@example.com', trusted)).toMatchObject([
      { disposition: 'retry-started' },
    ])
  })

  test('a mail with an envelope sender is not a notification', async () => {
    const [taken] = await trusted.take(
      ownNotice('eve@example.net', 'own3@example.com'),
      { recipients: ['bounces@example.com'], sender: 'eve@evil.example' },
      'lmtp',
    )
    expect(taken).toMatchObject({ disposition: 'unauthenticated', why: expect.stringContaining('null sender') })
  })

  test('a report on a tracked message is rejected for anyone who was not its recipient', async () => {
    const one = await sent()
    expect(await take(ownNotice('stranger@example.net', one.messageId), 'bounces@example.com', trusted)).toMatchObject([
      { disposition: 'unauthenticated', why: expect.stringContaining('was not a recipient') },
    ])
    expect(await take(ownNotice(one.recipient, one.messageId), 'bounces@example.com', trusted)).toMatchObject([
      { disposition: 'retry-started' },
    ])
  })

  test('an untracked message is retried for every recipient, whatever was retried before', async () => {
    await recordSent(world.database.db, {
      id: sentId('own7@example.com', 'h1@example.net'),
      messageId: 'own7@example.com',
      recipient: 'h1@example.net',
      envelopeRecipient: 'h1@example.net',
      sender: 'a@example.com',
      messageKey: 'k',
      sentAt: new Date(),
      options: null,
    })
    expect(await take(ownNotice('h2@example.net', 'own7@example.com'), 'bounces@example.com', trusted)).toMatchObject([
      { disposition: 'retry-started' },
    ])
  })

  test('an unsendable original is reported, and not processed again forever', async () => {
    const [taken] = await take(
      ownNotice('bob@example.net', 'own8@example.com', {}, `${INSIDE}\r\nX-Nul: \0`),
      'bounces@example.com',
      trusted,
    )
    expect(taken).toMatchObject({ disposition: 'ignored', why: expect.stringContaining('NUL') })
  })

  test('an untrusted intake does not parse unauthenticated reports', async () => {
    expect(await take(ownNotice('eve@example.net', 'own4@example.com'), 'bounces@example.com')).toMatchObject([
      { disposition: 'unauthenticated' },
    ])
  })
})

/** Waits until the eventually consistent count of workflows is stable. */
async function settled(): Promise<void> {
  let last = -1
  await eventually(async () => {
    const { workflows } = await touched([])
    const same = workflows === last
    last = workflows
    if (!same) await new Promise((resolve) => setTimeout(resolve, 300))
    return same
  })
}

/** The number of existing workflows, and of signals they received. */
async function touched(of: readonly Sent[]) {
  const counts = await Promise.all(of.map(async ({ workflowId }) => (await signals(workflowId)).length))
  const { count } = await world.temporal.workflow.count("WorkflowType = 'retryBouncedMessage'")
  return { counts, workflows: count, suppressions: (await world.database.db.selectFrom('suppressions').select('address').execute()).length }
}

/** All cases in CI, a fifth elsewhere. */
const inCi = process.env.CI === 'true'
const FORGED = inCi ? 5000 : 1000
const GENUINE = inCi ? 1000 : 200

test(`of ${FORGED} forged, changed and replayed bounces none affects a retry or suppresses`, {
  timeout: 120_000,
}, async () => {
  const open = await Promise.all(Array.from({ length: 5 }, () => sent()))
  const idle = await Promise.all(Array.from({ length: 5 }, () => sent()))
  const genuine = open.map((one) => report({ recipient: one.recipient }))
  for (const [i, one] of open.entries()) await take(genuine[i] as Buffer, one.returnPath)
  await settled()
  const before = await touched(open)
  const foreign: ReturnPaths = { ...returnPaths, keys: [Buffer.alloc(32, 8)] }
  const ageless = { ...returnPaths, validDays: 10_000 }
  const mails = (one: Sent) =>
    fc.oneof(
      fc.constantFrom(
        report({ recipient: one.recipient }),
        report({ recipient: one.recipient, status: '5.1.1', diagnostic: '550 5.1.1 no such user' }),
      ),
      fc.constant(qmailNotice(one.recipient, '550 5.1.1 no such user')),
      fc.constantFrom(complaint(one.returnPath.replace('+', '-')), complaint(`${one.recipient}`), complaint(one.messageId)),
      fc.constant(
        report(
          { recipient: one.recipient },
          {
            reportingMta: 'mail.example.com',
            postfix: true,
            top: ['Received: from x (evil.example [203.0.113.9]) by mail.example.com'],
            original: `Content-Type: message/rfc822\r\n\r\nMessage-ID: <${one.messageId}>\r\n\r\nx`,
          },
        ),
      ),
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.concat([report({ recipient: one.recipient }).subarray(0, 300), bytes])),
    )
  const addresses = (one: Sent) => {
    const id = sentId(one.messageId, one.recipient)
    const today = dayOf(new Date())
    return fc.oneof(
      fc.constantFrom(one.recipient, 'bounces@example.com', 'bounce+@example.com', 'shop@example.com', ''),
      // one character changed
      fc.tuple(fc.nat({ max: 38 }), fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567')).map(([at, c]) => {
        const i = 7 + at
        const path = one.returnPath
        return path.slice(0, i) + (path[i] === c ? (c === 'a' ? 'b' : 'a') : c) + path.slice(i + 1)
      }),
      fc
        .uint8Array({ minLength: 24, maxLength: 24 })
        .map((bytes) => signReturnPath(returnPaths, { id, day: today, send: 0 }, 'a@example.com').replace(/\+[^@]+/, `+${base32(bytes)}`)),
      fc.nat({ max: 300 }).map((send) => signReturnPath(foreign, { id, day: today, send }, 'a@example.com')),
      fc.integer({ min: 29, max: 5000 }).map((age) => signReturnPath(ageless, { id, day: today - age, send: 0 }, 'a@example.com')),
      // signed with our key, but never sent
      fc
        .uint8Array({ minLength: 10, maxLength: 10 })
        .map((bytes) => signReturnPath(returnPaths, { id: Buffer.from(bytes).toString('hex'), day: today, send: 0 }, 'a@example.com')),
    )
  }
  const forged = fc
    .constantFrom(...open, ...idle)
    .chain((one) => fc.record({ mail: mails(one), to: addresses(one), by: fc.constantFrom(intake, trusted) }))
  const replayed = fc
    .nat({ max: open.length - 1 })
    .chain((i) =>
      fc
        .constantFrom(
          genuine[i] as Buffer,
          report({ recipient: (open[i] as Sent).recipient, diagnostic: '451 4.3.2 again' }),
          report({ recipient: (open[i] as Sent).recipient, lastAttempt: new Date(0).toUTCString() }),
        )
        .map((mail) => ({ mail, to: (open[i] as Sent).returnPath, by: intake })),
    )
  const attacks = fc.sample(fc.oneof({ arbitrary: forged, weight: 9 }, { arbitrary: replayed, weight: 1 }), {
    numRuns: 5000,
    seed: 20261125,
  })
  const done = new Map<string, number>()
  for (let i = 0; i < attacks.length; i += 20)
    for (const taken of await Promise.all(attacks.slice(i, i + 20).map(({ mail, to, by }) => take(mail, to, by))))
      for (const one of taken) done.set(one.disposition, (done.get(one.disposition) ?? 0) + 1)
  expect([...done.keys()].sort()).toEqual(['ignored', 'unauthenticated'])
  expect(done.get('unauthenticated')).toBeGreaterThan(FORGED * 0.8)
  expect(await touched(open)).toEqual(before)
  for (const one of [...open, ...idle]) expect(await suppressed(one.recipient)).toBeNull()
  for (const one of idle) expect(await world.client.isOpen({ workflowId: one.workflowId })).toBe(false)
})

test(`each of ${GENUINE} genuine bounces acts`, { timeout: 120_000 }, async () => {
  const kinds = ['start', 'start', 'notice', 'gone', 'complaint'] as const
  const done = new Map<string, number>()
  for (let i = 0; i < GENUINE; i += 20) {
    const batch = await Promise.all(
      Array.from({ length: 20 }, async (_, j) => ({ one: await sent(), kind: kinds[(i + j) % kinds.length] as (typeof kinds)[number] })),
    )
    const taken = await Promise.all(
      batch.map(({ one, kind }) => {
        if (kind === 'start') return take(report({ recipient: one.recipient, status: i % 2 === 0 ? '5.0.0' : '4.3.2' }), one.returnPath)
        if (kind === 'notice') return take(qmailNotice(one.recipient, '421 4.3.2 System not accepting network messages'), one.returnPath)
        if (kind === 'gone')
          return take(report({ recipient: one.recipient, status: '5.1.1', diagnostic: '550 5.1.1 unknown' }), one.returnPath)
        return take(complaint(one.returnPath), 'fbl@example.com')
      }),
    )
    for (const [j, { one, kind }] of batch.entries()) {
      const what = taken[j]?.[0]?.disposition as string
      done.set(`${kind}: ${what}`, (done.get(`${kind}: ${what}`) ?? 0) + 1)
      if (kind === 'gone' || kind === 'complaint') expect(await suppressed(one.recipient)).not.toBeNull()
      else expect(await world.client.isOpen({ workflowId: one.workflowId })).toBe(true)
    }
  }
  expect(Object.fromEntries(done)).toEqual({
    'start: retry-started': GENUINE * 0.4,
    'notice: retry-started': GENUINE * 0.2,
    'gone: suppressed': GENUINE * 0.2,
    'complaint: suppressed': GENUINE * 0.2,
  })
})

const base32 = (bytes: Uint8Array): string => {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  return Array.from({ length: 39 }, (_, i) => alphabet[(bytes[i % bytes.length] as number) & 31]).join('')
}
