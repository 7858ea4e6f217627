import { createHash } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { parse } from 'csv-parse/sync'
import { expect, test } from 'vitest'
import { figures } from '../../src/report/figures.js'
import {
  type AttemptsTable,
  beginRun,
  type Database,
  forget,
  historyOf,
  holdMessage,
  loadMessage,
  quarantine,
  recordEnd,
  recordInbound,
  recordReport,
  storeMessage,
} from '../../src/store/index.js'
import { suppressForUnavailability, suppressLastingly } from '../../src/suppression/index.js'
import { checkList } from '../../src/suppression/list-check.js'
import { pause } from '../../src/throttle/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const NOW = new Date()
const HOUR = 3_600_000
const ago = (hours: number) => new Date(NOW.getTime() - hours * HOUR)
const cause = { status: '4.3.2', reply: '421 4.3.2 no', by: 'bounce/x/y', destination: 'x.example' }

/** Writes rows about a recipient into every table. */
async function live(database: Database, address: string, more: Partial<AttemptsTable> = {}) {
  const { db } = database
  const run = createHash('sha1').update(address).digest('hex')
  const workflowId = `bounce/${address}/m@example.com`
  const key = await storeMessage(db, Buffer.from(`To: ${address}\r\n\r\nhello\r\n`), ago(50))
  await db
    .insertInto('sent_messages')
    .values({
      ...{
        id: run,
        message_id: 'm@example.com',
        recipient: address,
        envelope_recipient: address,
        sender: 's@example.com',
        message_key: key,
      },
      ...{ sent_at: ago(50).getTime(), options: null, tracked: 1 },
    })
    .execute()
  await recordInbound(db, [
    {
      ...{ at: ago(49), source: 'lmtp', cameTo: `bounce+${run}@example.com`, reportingMta: 'mx.x.example', messageId: 'm@example.com' },
      ...{ recipient: address, kind: 'dsn', action: 'failed', status: '4.3.2', diagnostic: `421 <${address}> not now` },
      ...{ disposition: 'retry-started', why: `${address} is retried`, workflowId, event: `e-${run}` },
    },
  ])
  const start = {
    firstRunId: run,
    workflowId,
    sentId: `subject-${run}`,
    destination: 'x.example',
    status: '4.3.2',
    bouncedAt: ago(49),
    startedAt: ago(49),
    messageKey: key,
    schedule: null,
  }
  expect(await beginRun(database, start, null)).toBe(true)
  for (const [retry, outcome, status] of [
    [1, 'deferred', '4.3.2'],
    [2, 'accepted', '2.0.0'],
  ] as const)
    await db
      .insertInto('attempts')
      .values({
        ...{ first_run_id: run, retry, workflow_id: workflowId, message_id: 'm@example.com', recipient: address, destination: 'x.example' },
        ...{
          sends: 1,
          begun_at: 0,
          maybe_delivered: 0,
          relayed: 0,
          at: ago(49 - retry).getTime(),
          outcome,
          status,
          reply: `${status} <${address}> so`,
        },
        ...{ stage: 'final dot', mail_server: 'mx.x.example' },
        ...more,
      })
      .execute()
  await recordEnd(db, {
    ...{ messageId: 'm@example.com', recipient: address, workflowId, firstRunId: run, outcome: 'delivered', confirmed: true },
    ...{ suppressedUntil: null, endedAt: ago(47) },
  })
  await recordEnd(db, {
    ...{ messageId: 'n@example.com', recipient: address, workflowId: `bounce/${address}/n@example.com`, firstRunId: `${run}2` },
    ...{ outcome: 'expired', confirmed: false, suppressedUntil: null, endedAt: ago(48) },
  })
  await suppressForUnavailability(db, address, { ...cause, reply: `421 <${address}>`, by: workflowId }, ago(60), [100 * HOUR], ago(46))
  const content = Buffer.from(`Subject: help\r\n\r\n${address.toUpperCase()} \u00e4 wrote`)
  await quarantine(db, { digest: run, at: ago(45), source: 'lmtp', cameTo: null, content, why: 'unknown' }, 1_000_000)
  const outage = { destination: `${run}.example`, began_at: 1, down_at: null, ended_at: 2, refusals: 1, status: '4.3.2' }
  await db
    .insertInto('outages')
    .values({ ...outage, reply: `421 <${address}> no`, mail_server: null })
    .execute()
  return { workflowId, run }
}

async function everything({ db }: Database): Promise<string> {
  let text = ''
  for (const table of [
    ...([
      'sent_messages',
      'inbound',
      'runs',
      'attempts',
      'outcomes',
      'suppressions',
      'suppression_history',
      'outages',
      'destinations',
      'waiters',
    ] as const),
    ...(['message_holds', 'messages', 'quarantine'] as const),
  ])
    for (const row of await db.selectFrom(table).selectAll().execute())
      text += Object.values(row)
        .map((value: unknown) =>
          value instanceof Uint8Array || value instanceof ArrayBuffer ? Buffer.from(value as Uint8Array).toString('utf8') : String(value),
        )
        .join(' ')
  return text.toLowerCase()
}

onBothDatabases('an address', (opened) => {
  test('a recipient’s history lists bounces, retries, ends and suppressions, oldest first', async () => {
    await live(opened.database, 'his@x.example')
    const events = await historyOf(opened.database, 'his@x.example')
    expect(events.map(({ what }) => what.replace(/ until .*/, ''))).toEqual([
      'bounced: retry-started',
      'retry 1: deferred',
      'ended: expired',
      'retry 2: accepted',
      'ended: delivered',
      'suppressed (unavailable)',
    ])
    expect(await historyOf(opened.database, 'nobody@x.example')).toEqual([])
  })

  test('the history shows notifications of retries, unconfirmed ends, and lasting suppressions', async () => {
    const { database } = opened
    const address = 'told@x.example'
    const { run, workflowId } = await live(database, address, { relayed: 1 })
    await recordReport(database.db, { firstRunId: run, retry: 2 }, { at: ago(46.5), status: '4.4.7', reply: 'expired' })
    const end = { messageId: 'o@example.com', recipient: address, workflowId, firstRunId: `${run}3`, suppressedUntil: null }
    await recordEnd(database.db, { ...end, outcome: 'delivered', confirmed: false, endedAt: ago(46.2) })
    await suppressLastingly(database.db, address, 'rejected', { ...cause, status: '5.1.1', reply: '550 5.1.1 no' }, ago(45))
    const events = await historyOf(database, address)
    expect(events.map(({ what }) => what.replace(/ until .*/, ' until'))).toEqual([
      'bounced: retry-started',
      'retry 1: deferred',
      'ended: expired',
      'retry 2: accepted',
      'ended: delivered',
      'retry 2: a notification came',
      'ended: delivered, unconfirmed',
      'suppressed (unavailable) until',
      'suppressed (rejected)',
    ])
    expect(events.find(({ what }) => what.includes('notification'))).toMatchObject({ status: '4.4.7', detail: 'expired', workflowId })
  })

  test('erasure pages through quarantined mails; a message that others received or a retry needs is kept', async () => {
    const { database } = opened
    const { db } = database
    const address = 'paged@forget.example'
    for (let n = 0; n < 130; n += 1) {
      const content = Buffer.from(`Subject: ${n}\r\n\r\n${n % 2 === 0 ? address : 'somebody@else.example'} wrote`)
      await quarantine(
        db,
        { digest: `p${String(n).padStart(3, '0')}`, at: ago(1), source: 'lmtp', cameTo: null, content, why: 'unknown' },
        1_000_000,
      )
    }
    const send = (id: string, recipient: string, key: string) =>
      db
        .insertInto('sent_messages')
        .values({
          ...{ id, message_id: `${id}@example.com`, recipient, envelope_recipient: recipient, sender: 's@example.com', message_key: key },
          ...{ sent_at: ago(2).getTime(), options: null, tracked: 1 },
        })
        .execute()
    const [shared, needed, mine] = [
      await storeMessage(db, Buffer.from('shared'), ago(2)),
      await storeMessage(db, Buffer.from('needed'), ago(2)),
      await storeMessage(db, Buffer.from('mine'), ago(2)),
    ]
    await send('paged-1', address, shared)
    await send('paged-2', 'friend@forget.example', shared)
    await send('paged-3', address, needed)
    await send('paged-4', address, mine)
    await holdMessage(db, { key: needed, workflowId: 'bounce/friend@forget.example/m', firstRunId: 'paged-run' })
    const { tables } = await forget(database, address, `bounce/${address}/`)
    expect(tables).toMatchObject({ quarantine: 65, messages: 1 })
    expect(await loadMessage(db, mine)).toBeNull()
    expect(await loadMessage(db, shared)).not.toBeNull()
    expect(await loadMessage(db, needed)).not.toBeNull()
    expect(await everything(database)).not.toContain(address)
  })

  test('a recipient is erased from every table; figures and other recipients stay', async () => {
    const { database } = opened
    const address = "o'neil_50%.x@forget.example"
    await live(database, address)
    await live(database, 'other@forget.example')
    // a longer address that contains the erased one
    await live(database, `j${address}`)
    await live(database, `${address}.uk`)
    const window = { since: ago(100), until: new Date(NOW.getTime() + HOUR) }
    const before = await figures(database, window)
    expect(await everything(database)).toContain(address)
    const { tables: changed, runs } = await forget(database, address, `bounce/${address}/`)
    expect(runs).toHaveLength(2)
    expect(Object.keys(changed).sort()).toEqual(
      [
        'attempts',
        'inbound',
        'outcomes',
        'messages',
        'outages',
        'sent_messages',
        'runs',
        'suppression_history',
        'suppressions',
        'quarantine',
      ].sort(),
    )
    const left = await everything(database)
    const alone = left.replaceAll(`j${address}`, '').replaceAll(`${address}.uk`, '')
    expect(alone).not.toContain(address)
    expect(alone).not.toContain('neil')
    for (const longer of [`j${address}`, `${address}.uk`]) {
      expect((await historyOf(database, longer)).length).toBe(6)
      expect(left.split(longer).length).toBeGreaterThan(10)
    }
    expect(left.match(/other@forget\.example/g)?.length).toBeGreaterThan(10)
    const after = await figures(database, window)
    const { suppressions: _, outages: __, ...same } = before
    expect(after).toMatchObject(
      JSON.parse(JSON.stringify({ steps: same.steps, days: same.days, started: same.started, delivery: same.delivery })),
    )
    // a second time nothing is found
    expect(await forget(database, address, `bounce/${address}/`)).toEqual({ tables: {}, runs: [] })
  })

  test('the list check returns suppressed, destination down, often unavailable, rejected, or ok', async () => {
    const { database } = opened
    const { db } = database
    await suppressForUnavailability(db, 'off@list.example', cause, ago(3), [9 * HOUR], ago(1))
    await suppressLastingly(db, 'gone@list.example', 'rejected', { ...cause, status: '5.1.1', reply: '=HYPERLINK("x") unknown' }, ago(1))
    await suppressLastingly(db, 'hand@list.example', 'manual', cause, ago(1))
    await pause(database, 'somebody', 'down.example')
    await db
      .updateTable('destinations')
      .set({ down_since: ago(2).getTime() })
      .where('name', '=', 'down.example')
      .execute()
    const attempt = {
      sends: 1,
      maybe_delivered: 0,
      relayed: 0,
      outcome: 'deferred' as const,
      status: '4.3.2',
      reply: 'no',
      stage: 'banner' as const,
    }
    for (let retry = 1; retry <= 3; retry += 1)
      for (const [recipient, destination] of [
        ['often@list.example', 'list.example'],
        ['hosted@list.example', 'down.example'],
      ] as const)
        await db
          .insertInto('attempts')
          .values({
            ...attempt,
            begun_at: 0,
            first_run_id: recipient,
            workflow_id: 'w',
            retry,
            message_id: 'm',
            recipient,
            destination,
            at: ago(retry).getTime(),
          })
          .execute()
    const list = ['Name,Email', '"A, B",OFF@list.example', 'C,gone@list.example', 'D,hand@list.example', 'E,new@mail.down.example']
    list.push('F,often@list.example', 'G,hosted@list.example', 'H,ok@list.example', 'I,nothing', '')
    const checked = await check(database, list.join('\r\n'))
    expect(checked.counts).toEqual({
      ...{
        lines: 8,
        ok: 1,
        'suppressed until': 2,
        'system down since': 2,
        'often unavailable': 1,
        'permanently rejected': 1,
        'no address': 1,
      },
    })
    const rows = parse(checked.text, { columns: true }) as Record<string, string>[]
    expect(rows.map((row) => [row.Name, row.softbounce])).toEqual([
      ['A, B', 'suppressed until'],
      ['C', 'permanently rejected'],
      ['D', 'suppressed until'],
      ['E', 'system down since'],
      ['F', 'often unavailable'],
      ['G', 'system down since'],
      ['H', 'ok'],
      ['I', 'no address'],
    ])
    expect(rows[0]).toMatchObject({ softbounce_time: new Date(ago(1).getTime() + 9 * HOUR).toISOString() })
    expect(rows[2]).toMatchObject({ softbounce_time: 'lifted' })
    expect(rows[3]).toMatchObject({ softbounce_time: ago(2).toISOString(), softbounce_why: 'down.example' })
    // no added CSV cell is a formula
    expect(rows.every((row) => !/^[=+\-@]/.test(row.softbounce_why as string))).toBe(true)
  })

  test('a plain list is accepted too; a CSV without a known column is refused', async () => {
    const { counts, text } = await check(opened.database, 'a@plain.example\nb@plain.example\n')
    expect(counts).toMatchObject({ lines: 2, ok: 2 })
    expect(text).toBe('address,softbounce,softbounce_time,softbounce_why\na@plain.example,ok,,\nb@plain.example,ok,,\n')
    await expect(check(opened.database, 'who,where\nx,a@plain.example\n')).rejects.toThrow(/name the column that holds the address/)
    await expect(check(opened.database, 'email\na@plain.example\n', 'mail')).rejects.toThrow('the list has no column "mail"')
  })
})

async function check(database: Database, list: string, column?: string) {
  let text = ''
  const output = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  const counts = await checkList(database, Readable.from([Buffer.from(list)]), output, column === undefined ? {} : { column })
  return { counts, text }
}
