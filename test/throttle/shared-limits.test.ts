/** Two fleets that share their limits (`database.throttleSchema`): each contacts a destination within them, and sees no address of the other. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import { type Database, migrateToLatest, openDatabase, pendingMigrations } from '../../src/store/index.js'
import { findSuppression, suppressForUnavailability } from '../../src/suppression/index.js'
import {
  acquire,
  destinations,
  type Feedback,
  intervalOf,
  outagesToRestore,
  pause,
  purgeDestinations,
  releaseLeases,
  resume,
  unpublishedOutages,
  writeFeedback,
} from '../../src/throttle/index.js'
import { takesMailAgain } from '../../src/throttle/recovery.js'
import { administer, postgresDatabase, rowsWith, withoutPostgres } from '../support/databases.js'

const LIMITS = { minMessageRate: 2, maxMessageRate: 10, connections: 1, maxDeliveriesPerConnection: 20 }
const SETTINGS = { limits: LIMITS, failuresBeforeDown: 3, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }
const ADDRESS = 'ann.of.invoices@example.org'
const FAILING: Feedback = { kind: 'failing', slower: 'both', waitMs: 0 }

describe.skipIf(withoutPostgres !== null)(`shared limits${withoutPostgres === null ? '' : ` (${withoutPostgres})`}`, () => {
  let url: string
  let close: () => Promise<void>
  const time = { ms: 1_800_000_000_000 }
  const fleets: Database[] = []
  const fleet = (i: number) => fleets[i] as Database
  beforeAll(async () => {
    const opened = await postgresDatabase(inject('postgres') as string)
    ;({ url, close } = opened)
    for (const schema of ['invoices', 'newsletters']) {
      const database = openDatabase({ url, schema, throttleSchema: 'mail_limits' })
      expect(await pendingMigrations(database)).toContain('001_initial')
      await migrateToLatest(database)
      expect(await pendingMigrations(database)).toEqual([])
      fleets.push({ ...database, clock: () => new Date(time.ms) })
    }
  })
  afterAll(async () => {
    for (const database of fleets) await database.close()
    await close()
  })

  const asking = async (database: Database, name: string) => {
    const waiter = { firstRunId: randomUUID(), retry: 1, workflowId: `bounce/${randomUUID()}`, leaseId: randomUUID(), hasConnection: false }
    const key = { name, limits: LIMITS, needsConnection: true, fixed: false, nextHop: 'direct' }
    return { ...waiter, got: await acquire(database, waiter, [key], SETTINGS) }
  }
  const answered = (database: Database, name: string, lesson: Feedback, reply: string) =>
    writeFeedback(
      database,
      {
        ...{ name, limits: LIMITS, lesson, tookMs: 20 },
        answer: {
          ...{ outcome: lesson.kind === 'accepted' ? 'accepted' : 'deferred', reply, status: reply.slice(4, 9) },
          ...({ stage: 'RCPT', mailServer: 'mx.example' } as const),
        },
      },
      SETTINGS,
    )

  test('the connection and the rate of a destination are those of both', async () => {
    const first = await asking(fleet(0), 'one.example')
    expect(first.got).toMatchObject({ kind: 'granted' })
    time.ms += 10 * intervalOf(LIMITS.minMessageRate)
    expect((await asking(fleet(1), 'one.example')).got).toMatchObject({ kind: 'wait', why: 'connection limit' })
    await releaseLeases(fleet(0), [first.leaseId])
    const second = await asking(fleet(1), 'two.example')
    expect(second.got).toMatchObject({ kind: 'granted' })
    await releaseLeases(fleet(1), [second.leaseId])
    expect((await asking(fleet(0), 'two.example')).got).toMatchObject({ kind: 'wait', why: 'rate limit' })
    expect(await destinations(fleet(0), 1, 'two.example')).toMatchObject([{ waitingForPermit: 1 }])
    // who waits is each fleet's own
    expect(await destinations(fleet(1), 1, 'two.example')).toMatchObject([{ waitingForPermit: 0 }])
  })

  test('one finds it down, the other waits and finds it up: then the suppressions of both expire early, and no reply was shown', async () => {
    const name = 'down.example'
    const now = new Date(time.ms)
    const cause = { status: '4.3.2', reply: `452 4.3.2 <${ADDRESS}> later`, by: 'bounce/a', destination: name }
    await suppressForUnavailability(fleet(0).db, ADDRESS, cause, now, [30 * 24 * 3_600_000], now)
    for (let i = 0; i < 3; i += 1) await answered(fleet(0), name, FAILING, `452 4.3.2 <${ADDRESS}> later`)
    expect((await asking(fleet(1), name)).got).toMatchObject({ kind: 'wait', why: 'down' })
    expect(await destinations(fleet(1), 1, name)).toMatchObject([{ said: { reply: '452 4.3.2', status: '4.3.2', by: 'mx.example' } }])
    expect(await rowsWith(url, 'newsletters', ADDRESS)).toEqual([])
    expect(await rowsWith(url, 'mail_limits', ADDRESS)).toEqual([])
    expect(await outagesToRestore(fleet(0))).toEqual([])
    time.ms += 60_000
    expect(await answered(fleet(1), name, { kind: 'accepted' }, '250 2.0.0 Ok')).toMatchObject({ change: 'up', wasDown: true })
    const over = await outagesToRestore(fleet(0))
    expect(over).toMatchObject([{ destination: name, wasDown: true }])
    expect(await fleet(0).db.selectFrom('outages').select('ended_at').where('destination', '=', name).execute()).toEqual([
      { ended_at: time.ms },
    ])
    const settings = { throttle: { restoreWithinMs: 3_600_000, releaseOnRecovery: false, releaseWithinMs: 0 } } as never
    const log = { info() {}, warn() {} } as never
    for (const outage of over)
      await takesMailAgain(undefined as never, 'invoices', outage, { database: fleet(0), settings, log }, new Date(time.ms))
    expect((await findSuppression(fleet(0).db, ADDRESS, new Date(time.ms)))?.until?.getTime()).toBeLessThanOrEqual(time.ms + 3_600_000)
    expect(await outagesToRestore(fleet(0))).toEqual([])
  })

  test('a pause by one holds both, and the purge of one leaves the outages of the other open', async () => {
    await pause(fleet(0), 'ann', 'paused.example')
    expect((await asking(fleet(1), 'paused.example')).got).toMatchObject({ kind: 'wait', why: 'paused', state: { pausedBy: 'ann' } })
    expect(await resume(fleet(1), 'paused.example')).toBe(true)
    expect((await asking(fleet(0), 'paused.example')).got).toMatchObject({ kind: 'granted' })
    await answered(fleet(0), 'paused.example', FAILING, '421 4.3.2 no')
    await purgeDestinations(fleet(1))
    expect(await fleet(0).db.selectFrom('outages').select('ended_at').where('destination', '=', 'paused.example').execute()).toEqual([
      { ended_at: null },
    ])
  })

  test('the schema of one fleet is refused as the shared one', async () => {
    const wrong = openDatabase({ url, schema: 'third', throttleSchema: 'invoices' })
    await expect(migrateToLatest(wrong)).rejects.toThrow('database.throttleSchema (invoices) is a fleet')
    await wrong.close()
    expect(() => readSettings({ SOFTBOUNCE_DATABASE_THROTTLE_SCHEMA: 'softbounce' })).toThrow(
      'it must be another schema than database.schema',
    )
  })

  test('a destination that another fleet found down counts as down for the outage of its own too', async () => {
    const name = 'held.example'
    await answered(fleet(0), name, FAILING, '421 4.3.2 no')
    for (let i = 0; i < 2; i += 1) await answered(fleet(1), name, FAILING, '421 4.3.2 no')
    expect(await outagesToRestore(fleet(0))).toEqual([])
    expect(await unpublishedOutages(fleet(0), new Date(time.ms - 1))).toMatchObject([{ destination: name, change: 'down' }])
    time.ms += 60_000
    await answered(fleet(1), name, { kind: 'accepted' }, '250 2.0.0 Ok')
    expect(await outagesToRestore(fleet(0))).toMatchObject([{ destination: name, wasDown: true }])
  })

  test('nothing recovers without an acceptance: a new row of the shared schema, and an up and down between two looks', async () => {
    const name = 'moved.example'
    const began = time.ms
    const outage = { down_at: null, ended_at: null, restored_at: null, refusals: 1, status: '4.3.2', reply: 'no', mail_server: null }
    await fleet(0)
      .db.insertInto('outages')
      .values({ destination: name, began_at: began, ...outage })
      .execute()
    expect(await outagesToRestore(fleet(0))).toEqual([])
    // the shared schema has no row of it until the next permit
    const { leaseId } = await asking(fleet(0), name)
    await releaseLeases(fleet(0), [leaseId])
    expect(await outagesToRestore(fleet(0))).toEqual([])
    time.ms += 10_000
    await answered(fleet(1), name, { kind: 'accepted' }, '250 2.0.0 Ok')
    time.ms += 1000
    const again = time.ms
    for (let i = 0; i < 3; i += 1) await answered(fleet(1), name, FAILING, '421 4.3.2 no')
    expect(await outagesToRestore(fleet(0))).toMatchObject([{ destination: name, wasDown: false }])
    expect(await fleet(0).db.selectFrom('outages').select(['ended_at', 'down_at']).where('destination', '=', name).execute()).toEqual([
      { ended_at: again, down_at: null },
    ])
    // an hour later it is finished once
    time.ms += 3_600_000
    expect((await outagesToRestore(fleet(0))).filter(({ destination }) => destination === name)).toHaveLength(1)
  })

  test('after two weeks without contact a refusal begins an outage of its own', async () => {
    const name = 'forgotten.example'
    for (let i = 0; i < 3; i += 1) await answered(fleet(0), name, FAILING, '421 4.3.2 no')
    time.ms += 15 * 24 * 3_600_000
    await purgeDestinations(fleet(0))
    await answered(fleet(0), name, FAILING, '421 4.3.2 no')
    const rows = await fleet(0)
      .db.selectFrom('outages')
      .select(['began_at', 'ended_at'])
      .where('destination', '=', name)
      .orderBy('began_at')
      .execute()
    expect(rows).toHaveLength(2)
    expect(rows[1]).toEqual({ began_at: time.ms, ended_at: null })
  })

  test('a role with the documented rights reads and writes the shared tables, and nothing else of the other fleet', async () => {
    for (const statement of [
      'drop role if exists their_fleet',
      'create role their_fleet login',
      `grant create on database ${new URL(url).pathname.slice(1)} to their_fleet`,
      'grant usage on schema mail_limits to their_fleet',
      'grant select, insert, update, delete on all tables in schema mail_limits to their_fleet',
    ])
      await administer(url, statement)
    const theirUrl = url.replace('softbounce@', 'their_fleet@')
    const theirs = openDatabase({ url: theirUrl, schema: 'their_fleet', throttleSchema: 'mail_limits' })
    expect(await migrateToLatest(theirs)).toEqual(['001_initial'])
    expect((await asking(theirs, 'theirs.example')).got).toMatchObject({ kind: 'granted' })
    await expect(administer(theirUrl, 'select * from invoices.attempts')).rejects.toThrow('permission denied')
    await theirs.close()
    await administer(url, 'drop owned by their_fleet cascade')
    await administer(url, 'drop role their_fleet')
  })
})
