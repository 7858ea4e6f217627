import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type AdmissionRequest,
  admit,
  applyFeedback,
  connectionsOf,
  type Feedback,
  intervalOf,
  type LimiterState,
  MAX_IN_PLACE_WAIT_MS,
  newLimiterState,
  type Reservation,
  rateOf,
} from '../../src/throttle/index.js'

const LIMITS = { minMessageRate: 1, maxMessageRate: 4, connections: 2, maxDeliveriesPerConnection: 20 }
const SETTINGS = { limits: LIMITS, failuresBeforeDown: 5, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }
const MINUTE = 60_000
const ask = (state: LimiterState, now: number, more: Partial<AdmissionRequest> = {}) =>
  admit(state, { mine: null, held: 0, heldForMs: 0, hasConnection: false, random: 0.5, now, ...more }, LIMITS, SETTINGS)

test('the first start is immediate, the next an interval later', () => {
  const first = ask(newLimiterState(LIMITS, 0), 0)
  expect(first.kind).toBe('go')
  const second = ask(first.state, 10)
  expect(second).toMatchObject({ kind: 'wait', why: 'rate limit', askAgainAt: intervalOf(1), slotAt: intervalOf(1) })
  if (second.kind !== 'wait') throw new Error('it must wait')
  expect(ask(second.state, intervalOf(1), { mine: second.mine }).kind).toBe('go')
})

test('each waiter gets its own slot, and polls again after at most a quarter of an hour', () => {
  let { state } = ask(newLimiterState(LIMITS, 0), 0)
  const slots: number[] = []
  for (let i = 0; i < 2000; i += 1) {
    const decision = ask(state, 0, { random: 0.999 })
    if (decision.kind !== 'wait') throw new Error('it must wait')
    state = decision.state
    slots.push(decision.slotAt as number)
    expect(decision.askAgainAt).toBeLessThanOrEqual(15 * MINUTE)
    expect(decision.askAgainAt).toBeGreaterThan(0)
  }
  expect(new Set(slots).size).toBe(2000)
  expect(Math.max(...slots)).toBeCloseTo(2000 * intervalOf(1))
})

test('after a slowdown earlier slots are void, and the new rate holds', () => {
  const fast: LimiterState = { ...newLimiterState(LIMITS, 0), rate: 4 }
  const going = ask(fast, 0)
  const waiting = ask(going.state, 0)
  if (waiting.kind !== 'wait') throw new Error('it must wait')
  const slow: Feedback = { kind: 'failing', slower: 'both', waitMs: 0 }
  const slowed = applyFeedback(waiting.state, slow, 10, LIMITS, SETTINGS, 100)
  const early = ask(slowed, intervalOf(4), { mine: waiting.mine })
  if (early.kind !== 'wait') throw new Error('its moment of before is void')
  expect(early.mine.slotAt).toBeGreaterThanOrEqual(intervalOf(2))
  expect(ask(early.state, early.mine.slotAt, { mine: early.mine }).kind).toBe('go')
})

describe('a system that is down', () => {
  const down: LimiterState = {
    ...newLimiterState(LIMITS, 0),
    failures: 5,
    failingSince: -1000,
    downSince: -1000,
    nextProbeAt: MINUTE,
    epoch: 1,
  }

  test('a destination that is down is probed once a minute; other waiters try after a quarter of an hour, at the lowest rate', () => {
    let state = down
    const slots: number[] = []
    for (let i = 0; i < 100; i += 1) {
      const decision = ask(state, 0)
      if (decision.kind !== 'wait') throw new Error('nobody goes yet')
      expect(decision.why).toBe('down')
      state = decision.state
      slots.push(decision.slotAt as number)
    }
    const questions = slots.filter((at) => at < 15 * MINUTE)
    expect(questions).toEqual(Array.from({ length: 14 }, (_, i) => (i + 1) * MINUTE))
    const own = slots.filter((at) => at >= 15 * MINUTE)
    expect(own).toHaveLength(100 - 14)
    expect(Math.max(...own)).toBeLessThanOrEqual(15 * MINUTE + 85 * intervalOf(1))
  })

  test('slots reserved before the outage are void', () => {
    const mine: Reservation = { askedAt: -5000, slotAt: 10, allotted: false, epoch: 0 }
    expect(ask(down, 10, { mine })).toMatchObject({ kind: 'wait', why: 'down', slotAt: MINUTE })
  })

  test('after recovery waiters start one after another', () => {
    const up = applyFeedback(down, { kind: 'accepted' }, 20, LIMITS, SETTINGS, 5 * MINUTE)
    const mine: Reservation = { askedAt: 0, slotAt: 15 * MINUTE, allotted: false, epoch: 1 }
    expect(ask(up, 5 * MINUTE + 1100, { mine }).kind).toBe('go')
  })
})

test('a pause blocks all waiters, and reserves no slot', () => {
  const paused = { ...newLimiterState(LIMITS, 0), pausedSince: 0 }
  expect(ask(paused, 100)).toMatchObject({ kind: 'wait', why: 'paused', slotAt: null, state: paused })
})

test('a wait time requested by the destination is respected', () => {
  const asked = { ...newLimiterState(LIMITS, 0), notBefore: 5 * MINUTE }
  expect(ask(asked, 0)).toMatchObject({ kind: 'wait', why: 'retry after', slotAt: 5 * MINUTE })
  // also by a waiter that holds a near slot
  const mine: Reservation = { askedAt: 0, slotAt: 10, allotted: true, epoch: 0 }
  expect(ask(asked, 10, { mine }).kind).toBe('wait')
})

test('at the connection limit a waiter polls soon, or gets a later slot if the connections are held long', () => {
  const state = { ...newLimiterState(LIMITS, 0), serviceMs: 100 }
  expect(ask(state, 0, { held: 1 })).toMatchObject({ kind: 'wait', why: 'connection limit', askAgainAt: 150 })
  const tarpit = ask(state, 0, { held: 1, heldForMs: 30_000 })
  expect(tarpit).toMatchObject({ kind: 'wait', why: 'connection limit', slotAt: 30_000 })
  // the unused slot stays free for others
  expect(tarpit.state.nextStartAt).toBe(0)
  expect(ask(state, 0, { held: 1, hasConnection: true }).kind).toBe('go')
})

test('promise 4: in any interleaving starts are an interval apart, connections are bounded, and every waiter starts eventually', () => {
  const step = fc.record({
    dt: fc.integer({ min: 0, max: 3000 }),
    pick: fc.nat(),
    late: fc.integer({ min: 0, max: 2500 }),
    answer: fc.integer({ min: 0, max: 9 }),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 200 }), fc.integer({ min: 2, max: 12 }), (steps, askers) => {
      let state = newLimiterState(LIMITS, 0)
      let now = 0
      const waiting = Array.from({ length: askers }, () => ({ mine: null as Reservation | null, at: 0, asked: 0 }))
      const open: { since: number }[] = []
      const starts: { at: number; interval: number }[] = []
      const turn = (who: (typeof waiting)[number], random: number) => {
        const heldForMs = open.length === 0 ? 0 : now - Math.min(...open.map(({ since }) => since))
        const decision = admit(state, { mine: who.mine, held: open.length, heldForMs, hasConnection: false, now, random }, LIMITS, SETTINGS)
        const interval = intervalOf(rateOf(state, LIMITS))
        state = decision.state
        who.asked += 1
        if (decision.kind === 'wait') {
          expect(decision.askAgainAt).toBeGreaterThanOrEqual(now)
          Object.assign(who, { mine: decision.mine, at: decision.askAgainAt })
          return
        }
        expect(open.length).toBeLessThan(connectionsOf(state, LIMITS))
        starts.push({ at: now, interval })
        open.push({ since: now })
        waiting.splice(waiting.indexOf(who), 1)
      }
      for (const { dt, pick, late, answer } of steps) {
        now += dt
        const due = waiting.filter(({ at }) => at + (late % 500) <= now)
        const who = due[pick % Math.max(1, due.length)]
        if (who !== undefined) turn(who, (pick % 100) / 100)
        if (open.length > 0 && answer < 6) {
          const [{ since }] = open.splice(pick % open.length, 1) as [{ since: number }]
          const lesson: Feedback =
            answer < 3 ? { kind: 'accepted' } : answer < 5 ? { kind: 'failing', slower: 'both', waitMs: 0 } : { kind: 'nothing' }
          state = applyFeedback(state, lesson, now - since, LIMITS, SETTINGS, now)
        }
      }
      // then all open sends succeed, and waiters poll on time
      for (let round = 0; waiting.length > 0; round += 1) {
        expect(round).toBeLessThan(askers * 60)
        for (const { since } of open.splice(0))
          state = applyFeedback(state, { kind: 'accepted' }, Math.min(now - since, 100), LIMITS, SETTINGS, now)
        const next = waiting.reduce((a, b) => (b.at < a.at ? b : a))
        now = Math.max(now, next.at)
        turn(next, (round % 100) / 100)
      }
      // 15 ms count as now; the interval may have shrunk since the reservation, but not below that of the highest rate
      for (const [i, { at, interval }] of starts.entries())
        if (i > 0)
          expect(at - (starts[i - 1] as { at: number }).at).toBeGreaterThanOrEqual(
            Math.min(interval, intervalOf(LIMITS.maxMessageRate)) - 45,
          )
    }),
    { numRuns: 2000 },
  )
})

test('a near slot is reserved for its waiter, which waits in place', () => {
  const first = ask(newLimiterState(LIMITS, 0), 0)
  const a = ask(first.state, 100)
  if (a.kind !== 'wait') throw new Error('it must wait')
  expect(a.askAgainAt - 100).toBeLessThan(MAX_IN_PLACE_WAIT_MS)
  expect(a.mine.allotted).toBe(true)
  const next = ask(a.state, 100)
  if (next.kind !== 'wait') throw new Error('it must wait')
  expect(next.slotAt).toBeGreaterThanOrEqual((a.slotAt as number) + intervalOf(1) - 1)
})
