import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { beginSend, claimAttempt, type Database } from '../../src/store/index.js'
import {
  findSuppression,
  restoreSuppressed,
  suppressForUnavailability,
  suppressionHistory,
  suppressLastingly,
} from '../../src/suppression/index.js'
import {
  type Acquisition,
  acquire,
  beginRelease,
  cancelReservation,
  destinations,
  destinationsWithWaiters,
  type Feedback,
  intervalOf,
  LEASE_MS,
  type LimiterKey,
  leaseThatHolds,
  limitDestination,
  markRestored,
  nextWakeups,
  outagesToRestore,
  pause,
  pausedAltogether,
  purgeDestinations,
  recordRelease,
  releaseLeases,
  removeWaiters,
  renewLease,
  resume,
  writeFeedback,
} from '../../src/throttle/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const LIMITS = { minMessageRate: 2, maxMessageRate: 10, connections: 2, maxDeliveriesPerConnection: 20 }
const SETTINGS = { limits: LIMITS, failuresBeforeDown: 5, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }
const MINUTE = 60_000
const INTERVAL = intervalOf(LIMITS.minMessageRate)
const system = () => `${randomUUID().slice(0, 8)}.example`
const of = (name: string): LimiterKey => ({ name, limits: LIMITS, needsConnection: true, fixed: false, nextHop: 'direct' })
const asker = (more: Partial<Parameters<typeof acquire>[1]> = {}) => ({
  ...{ firstRunId: randomUUID(), retry: 1, workflowId: `bounce/${randomUUID()}`, leaseId: randomUUID(), hasConnection: false },
  ...more,
})

/** The database with a simulated clock. */
function atTime(database: Database) {
  const time = { ms: 1_800_000_000_000 }
  return { time, database: { ...database, clock: () => new Date(time.ms) } as Database }
}

const answer = (outcome: 'accepted' | 'deferred', reply: string) =>
  ({ outcome, reply, status: reply.slice(4, 9), stage: 'banner', mailServer: 'mx.example' }) as const
const FAILING: Feedback = { kind: 'failing', slower: 'both', waitMs: 0 }
const failed = (database: Database, name: string) =>
  writeFeedback(database, { name, limits: LIMITS, lesson: FAILING, answer: answer('deferred', '421 4.3.2 no'), tookMs: 20 }, SETTINGS)
const accepted = (database: Database, name: string) =>
  writeFeedback(
    database,
    { name, limits: LIMITS, lesson: { kind: 'accepted' }, answer: answer('accepted', '250 2.0.0 Ok'), tookMs: 20 },
    SETTINGS,
  )

onBothDatabases('promise 4: turns', (opened) => {
  test('the first permit is granted at once, the next when its slot is due, by the database’s clock alone', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    const [first, second] = [asker(), asker()]
    expect(await acquire(database, first, [of(name)], SETTINGS)).toMatchObject({ kind: 'granted', polls: 1, waitedMs: 0 })
    await releaseLeases(database, [first.leaseId])
    const wait = (await acquire(database, second, [of(name)], SETTINGS)) as Extract<Acquisition, { kind: 'wait' }>
    expect(wait).toMatchObject({ kind: 'wait', why: 'rate limit', name })
    expect(wait.askAgainMs).toBeCloseTo(INTERVAL, 0)
    time.ms += INTERVAL
    expect(await acquire(database, second, [of(name)], SETTINGS)).toMatchObject({ kind: 'granted', polls: 2, waitedMs: expect.any(Number) })
  })

  test('a connection counts until it is released or its lease expires', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    const [killed, next] = [asker(), asker()]
    await acquire(database, killed, [of(name)], SETTINGS)
    time.ms += INTERVAL
    expect(await acquire(database, next, [of(name)], SETTINGS)).toMatchObject({ kind: 'wait', why: 'connection limit' })
    time.ms += LEASE_MS - INTERVAL - 1
    expect(await renewLease(database, killed.leaseId)).toBe(true)
    const [from, until] = [new Date(), new Date(Date.now() + 60_000)]
    const send = { ...killed, messageId: 'm', recipient: 'ann@example.org', destination: name }
    expect(await claimAttempt(database, send, 'claim', from, until)).toMatchObject({ kind: 'claimed' })
    time.ms += (2 * LEASE_MS) / 3 - 1
    expect(await beginSend(database, killed, 'claim', until, leaseThatHolds(killed.leaseId))).toBe(true)
    // the claim is still held, but no send may begin when the lease is about to expire
    time.ms += 1
    expect(await beginSend(database, killed, 'claim', until, leaseThatHolds(killed.leaseId))).toBe(false)
    expect(await beginSend(database, killed, 'claim', until)).toBe(true)
    time.ms += LEASE_MS / 3 - 1
    expect(await acquire(database, next, [of(name)], SETTINGS)).toMatchObject({ kind: 'wait', why: 'connection limit' })
    time.ms += 1
    expect(await renewLease(database, killed.leaseId)).toBe(false)
    // the waiter has a time for its next poll by now
    const waits = (await acquire(database, next, [of(name)], SETTINGS)) as Extract<Acquisition, { kind: 'wait' }>
    expect(waits.askAgainMs).toBeLessThan(2 * LEASE_MS)
    time.ms = (waits.goesAt as Date).getTime()
    expect(await acquire(database, next, [of(name)], SETTINGS)).toMatchObject({ kind: 'granted' })
  })

  test('an open connection is reused without a new one, unless its lease has expired', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    const first = asker()
    await acquire(database, first, [of(name)], SETTINGS)
    time.ms += INTERVAL
    expect(await acquire(database, asker({ leaseId: first.leaseId, hasConnection: true }), [of(name)], SETTINGS)).toMatchObject({
      kind: 'granted',
    })
    expect((await destinations(database, 1, name))[0]).toMatchObject({ connectionsNow: 1 })
    time.ms += LEASE_MS + 1
    const other = asker()
    await acquire(database, other, [of(name)], SETTINGS)
    time.ms += INTERVAL
    expect(await acquire(database, asker({ leaseId: first.leaseId, hasConnection: true }), [of(name)], SETTINGS)).toMatchObject({
      kind: 'wait',
      why: 'connection limit',
    })
  })

  test('permits of a relay and the receiving system are acquired together or not at all', async () => {
    const { database, time } = atTime(opened.database)
    const relay: LimiterKey = {
      ...{ name: `relay:${system()}`, needsConnection: true, fixed: true, nextHop: 'relay' },
      limits: { minMessageRate: 1, maxMessageRate: 1, connections: 3, maxDeliveriesPerConnection: 1 },
    }
    const over = (name: string): LimiterKey[] => [{ ...of(name), needsConnection: false }, relay]
    const [a, b, c] = [system(), system(), system()]
    expect(await acquire(database, asker(), over(a), SETTINGS)).toMatchObject({ kind: 'granted' })
    const second = asker()
    expect(await acquire(database, second, over(b), SETTINGS)).toMatchObject({ kind: 'wait', name: relay.name })
    // b's own slot was not used up
    expect(await acquire(database, asker(), [of(b)], SETTINGS)).toMatchObject({ kind: 'granted' })
    time.ms += intervalOf(1)
    expect(await acquire(database, second, over(b), SETTINGS)).toMatchObject({ kind: 'granted' })
    expect(await acquire(database, asker(), over(c), SETTINGS)).toMatchObject({ kind: 'wait', name: relay.name })
  })

  test('what one next hop taught does not hold up mail that goes by another', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    const first = asker()
    expect(await acquire(database, first, [of(name)], SETTINGS)).toMatchObject({ kind: 'granted' })
    await releaseLeases(database, [first.leaseId])
    for (let i = 0; i < 5; i += 1) await failed(database, name)
    expect(await acquire(database, asker(), [of(name)], SETTINGS)).toMatchObject({ kind: 'wait', why: 'down' })
    const other = { ...of(name), nextHop: 'relay.example:25' }
    // while both are in use they share the state: two settings must not undo each other's backoff
    expect(await acquire(database, asker(), [other], SETTINGS)).toMatchObject({ kind: 'wait', why: 'down' })
    time.ms += 2 * SETTINGS.probeIntervalMs + 1
    expect(await acquire(database, asker(), [other], SETTINGS)).toMatchObject({ kind: 'granted' })
    // the outage that began is known until mail is accepted again
    expect((await destinations(database, 1, name))[0]).toMatchObject({ downSince: null, failures: 0 })
    for (let i = 0; i < 5; i += 1) await failed(database, name)
    expect(await acquire(database, asker(), [other], SETTINGS)).toMatchObject({ kind: 'wait', why: 'down' })
  })

  test('feedback is persisted: down after five failures in a row, up after one acceptance', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    const changes = []
    for (let i = 0; i < 6; i += 1) changes.push((await failed(database, name)).change)
    expect(changes).toEqual([null, null, null, null, 'down', null])
    expect((await destinations(database, 1, name))[0]).toMatchObject({
      downSince: time.ms,
      failures: 6,
      said: { reply: '421 4.3.2 no', by: 'mx.example' },
    })
    expect(await acquire(database, asker(), [of(name)], SETTINGS)).toMatchObject({ kind: 'wait', why: 'down' })
    time.ms += MINUTE
    expect(await accepted(database, name)).toMatchObject({ change: 'up', wasDown: true })
    expect(await accepted(database, name)).toMatchObject({ change: null, wasDown: false })
    expect(await outagesToRestore(database)).toEqual([])
    // the worker that should have let the suppressions expire died
    time.ms += 2 * MINUTE
    expect(await outagesToRestore(database)).toMatchObject([{ destination: name, wasDown: true }])
    await markRestored(database.db, name, new Date(time.ms))
    expect(await outagesToRestore(database)).toEqual([])
    expect((await destinations(database, 1, name))[0]).toMatchObject({ downSince: null, failures: 0 })
  })

  test('a pause of one or all destinations blocks all permits and names who set it; a manual limit overrides the settings', async () => {
    const { database, time } = atTime(opened.database)
    const name = system()
    await pause(database, 'operator ann', name)
    expect(await acquire(database, asker(), [of(name)], SETTINGS)).toMatchObject({
      kind: 'wait',
      why: 'paused',
      goesAt: null,
      state: { pausedBy: 'operator ann' },
    })
    expect(await resume(database, name)).toBe(true)
    expect(await resume(database, name)).toBe(false)
    await pause(database, 'operator bob')
    expect(await pausedAltogether(database.db)).toMatchObject({ by: 'operator bob' })
    expect(await acquire(database, asker(), [of(name)], SETTINGS)).toMatchObject({
      kind: 'wait',
      why: 'paused',
      state: { pausedBy: 'operator bob' },
    })
    await resume(database)
    expect(await pausedAltogether(database.db)).toBeNull()
    await limitDestination(database, name, 'operator ann', { rate: 0.5 })
    await acquire(database, asker(), [of(name)], SETTINGS)
    time.ms += INTERVAL
    const waits = (await acquire(database, asker(), [of(name)], SETTINGS)) as Extract<Acquisition, { kind: 'wait' }>
    expect(waits.goesAt?.getTime()).toBeGreaterThan(time.ms + intervalOf(0.5) - INTERVAL - 20)
    await limitDestination(database, name, 'operator ann', { rate: null })
    expect((await destinations(database, 1, name))[0]).toMatchObject({ limited: null })
  })

  test('an acceptance wakes the first waiters if there is capacity, but none while down or paused', async () => {
    const { time, database } = atTime(opened.database)
    const name = system()
    for (let i = 0; i < 5; i += 1) await failed(database, name)
    const sleepers = Array.from({ length: 12 }, () => asker())
    for (const one of sleepers) {
      expect(await acquire(database, one, [of(name)], SETTINGS)).toMatchObject({ kind: 'wait', why: 'down' })
      time.ms += 1
    }
    expect((await failed(database, name)).wake).toEqual([])
    await pause(database, 'somebody', name)
    expect((await accepted(database, name)).wake).toEqual([])
    await resume(database, name)
    time.ms += 10_000
    // two seconds at two per second, minus an interval for each
    const { wake } = await accepted(database, name)
    expect(wake).toEqual(sleepers.slice(0, 4).map(({ workflowId }) => workflowId))
    // those are on their way: no others are woken, except for the increased rate
    const more = (await accepted(database, name)).wake
    expect(more.length).toBeLessThanOrEqual(1)
    expect(wake).not.toContain(more[0])
    // they have arrived, and their slots fill the near future
    for (const one of sleepers.slice(0, 6)) await acquire(database, one, [of(name)], SETTINGS)
    expect((await accepted(database, name)).wake).toEqual([])
    time.ms += 2500
    const again = (await accepted(database, name)).wake
    expect(again).not.toEqual([])
    // nobody arrives: later acceptances wake them once more, and then the others
    const called = new Set<string>()
    for (let looks = 0; looks < 5; looks += 1) {
      time.ms += 6000
      for (const id of await nextWakeups(database, name, LIMITS)) called.add(id)
    }
    expect([...called]).toEqual(expect.arrayContaining([...again]))
    await removeWaiters(database.db, again[0] as string)
    time.ms += 6000
    expect(await nextWakeups(database, name, LIMITS)).not.toContain(again[0])
    expect(await destinationsWithWaiters(database)).toContain(name)
    await pause(database, 'somebody', name)
    expect(await nextWakeups(database, name, LIMITS)).toEqual([])
    expect(await destinationsWithWaiters(database)).not.toContain(name)
  })

  test('a lower rate applies at once: slots reserved at the higher rate are void, by feedback and by hand', async () => {
    const { time, database } = atTime(opened.database)
    for (const lower of ['learnt', 'by hand'] as const) {
      const name = system()
      for (let i = 0; i < 200; i += 1) await accepted(database, name)
      time.ms += 10_000
      const all = Array.from({ length: 20 }, () => asker({ hasConnection: true }))
      for (const one of all) await acquire(database, one, [{ ...of(name), needsConnection: false }], SETTINGS)
      if (lower === 'learnt') for (let i = 0; i < 3; i += 1) await failed(database, name)
      else await limitDestination(database, name, 'somebody', { rate: 1 })
      const most = lower === 'learnt' ? LIMITS.minMessageRate : 1
      const went: number[] = []
      const due = new Map(all.map((one) => [one, time.ms]))
      for (const end = time.ms + 4000; time.ms < end; time.ms += 25)
        for (const [one, at] of due) {
          if (at > time.ms) continue
          const turn = await acquire(database, one, [{ ...of(name), needsConnection: false }], SETTINGS)
          if (turn.kind === 'granted') {
            went.push(time.ms)
            due.delete(one)
          } else due.set(one, time.ms + turn.askAgainMs)
        }
      const window = went.filter((ms) => ms >= (went[0] as number) + 1500 && ms < (went[0] as number) + 3500)
      expect(window.length).toBeLessThanOrEqual(2 * most)
      expect(went.filter((ms) => ms < (went[0] as number) + 1000).length).toBeLessThanOrEqual(most + 1)
    }
  })

  test('removing a limit releases waiters at once', async () => {
    const { time, database } = atTime(opened.database)
    const name = system()
    await limitDestination(database, name, 'somebody', { rate: 1 / 3600 })
    await acquire(database, asker({ hasConnection: true }), [of(name)], SETTINGS)
    const waits = asker()
    expect(await acquire(database, waits, [of(name)], SETTINGS)).toMatchObject({ kind: 'wait' })
    await limitDestination(database, name, 'somebody', { rate: null })
    time.ms += 1500
    expect(await nextWakeups(database, name, LIMITS)).toEqual([waits.workflowId])
    await releaseLeases(database, [waits.leaseId])
    const turn = await acquire(database, waits, [{ ...of(name), needsConnection: false }], SETTINGS)
    expect(turn.kind === 'granted' || turn.askAgainMs < 1000).toBe(true)
  })

  test('a cancelled reservation does not count as waiting', async () => {
    const { database } = atTime(opened.database)
    const name = system()
    await acquire(database, asker(), [of(name)], SETTINGS)
    const waits = asker()
    await acquire(database, waits, [of(name)], SETTINGS)
    expect((await destinations(database, 1, name))[0]).toMatchObject({ waitingForPermit: 1 })
    await cancelReservation(database.db, waits)
    expect((await destinations(database, 1, name))[0]).toMatchObject({ waitingForPermit: 0 })
  })

  test('unused rows are purged; pauses and manual limits stay', async () => {
    const { database, time } = atTime(opened.database)
    const [old, paused, limited] = [system(), system(), system()]
    for (const name of [old, paused, limited]) await acquire(database, asker(), [of(name)], SETTINGS)
    await acquire(database, asker(), [of(old)], SETTINGS)
    await pause(database, 'operator ann', paused)
    await limitDestination(database, limited, 'operator ann', { rate: 1 })
    time.ms += 2 * 24 * 60 * MINUTE
    await purgeDestinations(database)
    expect((await destinations(database, 1, old))[0]).toMatchObject({ waitingForPermit: 0, connectionsNow: 0 })
    expect(await database.db.selectFrom('waiters').selectAll().where('name', '=', old).execute()).toEqual([])
    time.ms += 100 * 24 * 60 * MINUTE
    await purgeDestinations(database)
    expect(await destinations(database, 1, old)).toEqual([])
    expect(await destinations(database, 1, paused)).toHaveLength(1)
    expect(await destinations(database, 1, limited)).toHaveLength(1)
    await resume(database, paused)
  })

  test('the state keeps its bounds in any interleaving of acquire, reserve, kill, release and feedback', {
    timeout: 120_000,
  }, async () => {
    const action = fc.record({
      dt: fc.integer({ min: 0, max: 4000 }),
      who: fc.nat({ max: 5 }),
      end: fc.constantFrom('accepted', 'failing', 'killed', 'none', 'none'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 40 }), async (actions) => {
        const { database, time } = atTime(opened.database)
        const name = system()
        const askers = Array.from({ length: 6 }, () => asker())
        const open = new Map<string, number>()
        const starts: number[] = []
        for (const { dt, who, end } of actions) {
          time.ms += dt
          for (const [id, at] of open) if (at + LEASE_MS <= time.ms) open.delete(id)
          const one = askers[who] as ReturnType<typeof asker>
          const turn = await acquire(database, one, [of(name)], SETTINGS, () => 0.5)
          const [row] = await destinations(database, 1, name)
          if (turn.kind === 'granted') {
            expect(open.size).toBeLessThan(Math.max(1, Math.floor(row?.connections ?? 1)))
            if (starts.length > 0)
              expect(time.ms - (starts.at(-1) as number)).toBeGreaterThanOrEqual(intervalOf(LIMITS.maxMessageRate) - 20)
            starts.push(time.ms)
            open.set(one.leaseId, time.ms)
            askers[who] = asker()
          } else expect(turn.askAgainMs).toBeLessThanOrEqual(15 * MINUTE)
          const [oldest] = open.keys()
          if (oldest === undefined || end === 'none' || end === 'killed') continue
          open.delete(oldest)
          await releaseLeases(database, [oldest])
          await (end === 'accepted' ? accepted : failed)(database, name)
        }
        const [row] = await destinations(database, 1, name)
        expect(row?.rate).toBeLessThanOrEqual(LIMITS.maxMessageRate)
        expect(row?.connectionsNow).toBe(open.size)
      }),
      { numRuns: 40 },
    )
  })
})

onBothDatabases('a receiving system that takes mail again', (opened) => {
  const cause = (status: string, destination: string) => ({ status, reply: `421 ${status} no`, by: 'bounce/x/y', destination })
  const now = new Date(1_800_000_000_000)
  const day = 24 * 3_600_000
  const suppress = (who: string, status: string, destination: string) =>
    suppressForUnavailability(opened.database.db, who, cause(status, destination), now, [day, 3 * day], now)

  test('promise 5: on recovery, suppressions caused by the outage lapse early and spread out; all others stay', async () => {
    const [name, other] = [system(), system()]
    const db = opened.database.db
    const restored = Array.from({ length: 1200 }, (_, i) => `p${i}@${name}`)
    await db.transaction().execute(async (tx) => {
      for (const who of restored) await suppressForUnavailability(tx, who, cause('4.3.2', name), now, [day], now)
    })
    await suppress(`full@${name}`, '4.2.2', name)
    await suppress(`elsewhere@${other}`, '4.3.2', other)
    await suppressLastingly(db, `gone@${name}`, 'rejected', cause('5.1.1', name), now)
    expect(await restoreSuppressed(db, name, `${name} takes mail again`, now, 3_600_000)).toBe(1200)
    const until = await Promise.all(restored.map(async (who) => (await findSuppression(db, who, now))?.until?.getTime() ?? 0))
    expect(Math.max(...until)).toBeLessThanOrEqual(now.getTime() + 3_600_000)
    expect(Math.min(...until)).toBeGreaterThan(now.getTime())
    // only a few in each minute of the hour
    const perMinute = new Map<number, number>()
    for (const at of until) perMinute.set(Math.floor(at / MINUTE), (perMinute.get(Math.floor(at / MINUTE)) ?? 0) + 1)
    expect(Math.max(...perMinute.values())).toBeLessThan(60)
    expect(await findSuppression(db, `full@${name}`, now)).toMatchObject({ until: new Date(now.getTime() + day) })
    expect(await findSuppression(db, `elsewhere@${other}`, now)).toMatchObject({ until: new Date(now.getTime() + day) })
    expect(await findSuppression(db, `gone@${name}`, now)).toMatchObject({ until: null })
    expect((await suppressionHistory(db, restored[0] as string)).at(-1)).toMatchObject({
      change: 'restored',
      by: `${name} takes mail again`,
    })
    expect(await restoreSuppressed(db, name, 'again', now, 3_600_000)).toBe(0)
  })

  test('an interrupted release continues within a day; after an ended or older one a new release begins', async () => {
    const name = system()
    const db = opened.database.db
    const at = (hours: number) => new Date(now.getTime() + hours * 3_600_000)
    const begin = (hours: number) => beginRelease(db, name, 1000, 'ann', at(hours), day)
    expect(await begin(0)).toMatchObject({ beganAt: at(0), released: 0, endedAt: null })
    await recordRelease(db, name, 7)
    expect(await begin(5)).toMatchObject({ beganAt: at(0), released: 7 })
    await recordRelease(db, name, 3, at(6))
    expect(await begin(7)).toMatchObject({ beganAt: at(7), released: 0, endedAt: null })
    expect(await begin(40)).toMatchObject({ beganAt: at(40) })
  })
})

describe('the database’s own clock', () => {
  onBothDatabases('decides', (opened) => {
    test('the database’s clock sets the time of slots', async () => {
      const name = system()
      await acquire(opened.database, asker(), [of(name)], SETTINGS)
      const [row] = await destinations(opened.database, 1, name)
      expect(Math.abs((row?.nextStartAt as number) - INTERVAL - Date.now())).toBeLessThan(5000)
    })
  })
})
