import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { Kysely } from 'kysely'
import { describe, expect, test } from 'vitest'
import type { Tables } from '../../src/store/index.js'
import {
  findSuppression,
  liftSuppression,
  listSuppressions,
  nextStep,
  suppressedAmong,
  suppressForUnavailability,
  suppressionHistory,
  suppressLastingly,
} from '../../src/suppression/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const STEPS = [DAY, 3 * DAY, 7 * DAY, 30 * DAY]
const day = (n: number) => new Date(1_800_000_000_000 + n * DAY)
const cause = { status: '4.3.2', reply: '421 4.3.2 no', by: 'bounce/x/y', destination: 'example.org' }
const address = () => `${randomUUID()}@example.org`

onBothDatabases('promise 5: suppression for unavailability', (opened) => {
  const db = () => opened.database.db
  const suppress = (who: string, outageFrom: Date, now: Date) => suppressForUnavailability(db(), who, cause, outageFrom, STEPS, now)

  test('a concurrent complaint wins over other writes', async () => {
    const writes: ((tx: Kysely<Tables>, who: string) => Promise<unknown>)[] = [
      (tx, who) => suppressForUnavailability(tx, who, cause, day(-2), STEPS, day(0)),
      (tx, who) => liftSuppression(tx, who, 'a delivery', day(0), 'temporary'),
    ]
    for (const write of writes) {
      const ann = address()
      await suppress(ann, day(-2), day(-0.5))
      let commit: () => void = () => {}
      const mayCommit = new Promise<void>((resolve) => {
        commit = resolve
      })
      let written: () => void = () => {}
      const isWritten = new Promise<void>((resolve) => {
        written = resolve
      })
      const complaint = db()
        .transaction()
        .execute(async (tx) => {
          await suppressLastingly(tx, ann, 'complaint', cause, day(0))
          written()
          await mayCommit
        })
      await isWritten
      const other = db()
        .transaction()
        .execute(async (tx) => {
          await write(tx, ann)
        })
      // time for the other write to read early, if it does not wait for the lock
      await new Promise((resolve) => setTimeout(resolve, 300))
      commit()
      await Promise.all([complaint, other])
      expect(await findSuppression(db(), ann, day(0))).toMatchObject({ reason: 'complaint', until: null })
    }
  })

  test('a temporary suppression lapses by itself', async () => {
    const ann = address()
    expect(await suppress(ann, day(-2), day(0))).toEqual(day(1))
    expect(await findSuppression(db(), ann, day(0.99))).toMatchObject({
      reason: 'unavailable',
      until: day(1),
      causedBy: 'bounce/x/y',
      reply: '421 4.3.2 no',
    })
    expect(await findSuppression(db(), ann, day(1))).toBeNull()
  })

  test('the step increases only for an outage that began after the last suppression ended, within 90 days', async () => {
    const ann = address()
    await suppress(ann, day(-2), day(0)) // until 1
    expect(await suppress(ann, day(2), day(4))).toEqual(day(7)) // 3 d
    expect(await suppress(ann, day(8), day(10))).toEqual(day(17)) // 7 d
    expect(await suppress(ann, day(20), day(22))).toEqual(day(52)) // 30 d
    expect(await suppress(ann, day(60), day(62))).toEqual(day(92)) // the last step repeats
    expect(await suppress(ann, day(92 + 91), day(190))).toEqual(day(191)) // after 90 days: the first step again
  })

  test('several messages in one outage keep the step', async () => {
    const ann = address()
    await suppress(ann, day(-2), day(0))
    expect(await suppress(ann, day(-1.5), day(0.5))).toEqual(day(1.5))
    // a failure that began before the suppression ended is the same outage, even if reported later
    expect(await suppress(ann, day(1.2), day(3))).toEqual(day(4))
    const history = await suppressionHistory(db(), ann)
    expect(history.map((h) => h.change)).toEqual(['suppressed', 'extended', 'suppressed'])
  })

  test('a proven delivery lifts the suppression and resets the steps', async () => {
    const ann = address()
    await suppress(ann, day(-2), day(0))
    await suppress(ann, day(2), day(4))
    expect(await liftSuppression(db(), ann, 'bounce/a/b', day(5), 'temporary')).toBe(true)
    expect(await findSuppression(db(), ann, day(5))).toBeNull()
    expect(await suppress(ann, day(6), day(8))).toEqual(day(9))
    // a delivery after the suppression lapsed resets the steps too
    await liftSuppression(db(), ann, 'bounce/a/b', day(10), 'temporary')
    expect(await suppress(ann, day(11), day(12))).toEqual(day(13))
  })
})

onBothDatabases('a lasting suppression', (opened) => {
  const db = () => opened.database.db

  test('a lasting suppression survives later deliveries and outages', async () => {
    const ann = address()
    await suppressForUnavailability(db(), ann, cause, day(-2), STEPS, day(0))
    await suppressLastingly(db(), ann, 'rejected', { ...cause, status: '5.1.1' }, day(0.5))
    expect(await liftSuppression(db(), ann, 'bounce/a/b', day(2), 'temporary')).toBe(false)
    expect(await suppressForUnavailability(db(), ann, cause, day(3), STEPS, day(4))).toBeNull()
    expect(await findSuppression(db(), ann, day(4000))).toMatchObject({ reason: 'rejected', until: null, status: '5.1.1' })
  })

  test('a lasting suppression does not lapse, and a manual one does not count as unavailability', async () => {
    const ann = address()
    await suppressLastingly(db(), ann, 'complaint', cause, day(0))
    await suppressLastingly(db(), ann, 'manual', cause, day(1), day(8))
    await suppressLastingly(db(), ann, 'rejected', cause, day(1))
    expect(await findSuppression(db(), ann, day(100))).toMatchObject({ reason: 'complaint', until: null })
    const bob = address()
    await suppressLastingly(db(), bob, 'manual', cause, day(0), day(60))
    expect(await suppressForUnavailability(db(), bob, cause, day(1), STEPS, day(2))).toEqual(day(60))
    expect(await liftSuppression(db(), bob, 'bounce/a/b', day(3), 'temporary')).toBe(false)
    expect(await findSuppression(db(), bob, day(4))).toMatchObject({ reason: 'manual', until: day(60) })
  })

  test('a suppression is lifted by hand, and every change is recorded', async () => {
    const ann = address()
    await suppressLastingly(db(), ann, 'manual', { ...cause, reply: 'asked for it', by: 'operator ann' }, day(0))
    expect(await liftSuppression(db(), ann, 'operator eve', day(1))).toBe(true)
    expect(await liftSuppression(db(), ann, 'operator eve', day(1))).toBe(false)
    expect(await suppressionHistory(db(), ann)).toMatchObject([
      { change: 'suppressed', reason: 'manual', by: 'operator ann', reply: 'asked for it', at: day(0), until: null },
      { change: 'lifted', reason: 'manual', by: 'operator eve', at: day(1) },
    ])
  })

  test('active suppressions among many addresses are found in one query', async () => {
    const [ann, bob, eve, joe] = [address(), address(), address(), "o'neil@example.org"]
    await suppressLastingly(db(), ann, 'manual', cause, day(0))
    await suppressForUnavailability(db(), bob, cause, day(-2), STEPS, day(0))
    await suppressLastingly(db(), joe, 'manual', cause, day(0))
    await suppressLastingly(db(), eve, 'manual', cause, day(0))
    await liftSuppression(db(), eve, 'x', day(0))
    expect(await suppressedAmong(opened.database, [ann, bob, eve, joe, 'nobody@example.org'], day(0.5))).toEqual(new Set([ann, bob, joe]))
    expect(await suppressedAmong(opened.database, [ann, bob], day(2))).toEqual(new Set([ann]))
    expect(await suppressedAmong(opened.database, [], day(2))).toEqual(new Set())
  })

  test('the list is paged and ordered, without lapsed entries', async () => {
    const prefix = `list-${randomUUID()}-`
    for (let i = 0; i < 25; i += 1)
      await suppressLastingly(db(), `${prefix}${String(i).padStart(2, '0')}@example.org`, 'manual', cause, day(0), i === 7 ? day(1) : null)
    const listed: string[] = []
    for await (const entry of listSuppressions(db(), day(2), 10)) if (entry.address.startsWith(prefix)) listed.push(entry.address)
    expect(listed).toHaveLength(24)
    expect([...listed].sort()).toEqual(listed)
  })
})

describe('the step', () => {
  test('the step never exceeds the last, and grows by at most one', () => {
    const n = fc.integer({ min: 0, max: 10_000_000_000 })
    fc.assert(
      fc.property(
        n,
        fc.option(n),
        fc.option(n),
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 6 }),
        (began, until, lifted, step, steps) => {
          const last = { until, lifted_at: lifted, step, reason: 'unavailable' as const }
          const next = nextStep(last, new Date(began), steps)
          expect(next).toBeGreaterThanOrEqual(0)
          expect(next).toBeLessThan(steps)
          expect(next).toBeLessThanOrEqual(step + 1)
          if (until !== null && began <= until) expect(next).toBeLessThanOrEqual(step)
        },
      ),
    )
  })
})
