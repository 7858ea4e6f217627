/** The auditor of `npm run chaos`: no findings if all promises are kept; a broken promise is found. */
import { expect, test } from 'vitest'
import { audit, type Run } from '../../chaos/audit.mjs'

const T = Date.parse('2026-11-26T10:00:00Z')
const system = 'down-at-first-0.example'
const recipient = `ann@${system}`
const NOT_NOW = '451 4.3.2 System not accepting network messages'

/** A run with one message: deferred once, then accepted at the second retry. */
function good(): Run {
  const contact = (at: number, step: string, more: object = {}) => ({
    at: T + at,
    system,
    connection: `c${at}`,
    step,
    ehlo: 'worker-0',
    recipient,
    messageId: null,
    said: '250 ok',
    ...more,
  })
  return {
    lives: [{ id: 'm@example.com', recipient, system, kind: 'down at first', bouncedAt: T, delaysMs: [4000, 5000, 6000] }],
    contacts: [contact(4100, 'RCPT', { said: NOT_NOW, refused: true }), contact(9300, 'RCPT'), contact(9400, 'final dot', { taken: true })],
    results: new Map([[recipient, { status: 'COMPLETED', result: { outcome: 'delivered', retries: 2 } }]]),
    attempts: [
      {
        recipient,
        retry: 1,
        destination: system,
        stage: 'RCPT',
        outcome: 'deferred',
        status: '4.3.2',
        reply: NOT_NOW,
        begun_at: T + 4050,
        at: T + 4110,
      },
      {
        recipient,
        retry: 2,
        destination: system,
        stage: 'final dot',
        outcome: 'accepted',
        status: '2.0.0',
        reply: '250 ok',
        begun_at: T + 9250,
        at: T + 9410,
      },
    ],
    suppressions: [],
    faults: [],
    settings: { rate: 20, skewMs: 0, relay: 'relay.example' },
  }
}
const found = (run: Run) => Object.entries(audit(run).findings).flatMap(([of, list]) => list.map(() => of))
type Writable<T> = { -readonly [K in keyof T]: T[K] }
const first = <T>(list: readonly T[]) => list[0] as Writable<T>
const second = <T>(list: readonly T[]) => list[1] as Writable<T>

test('a run that keeps the promises has no findings', () => {
  expect(audit(good())).toMatchObject({ explained: [], outcomes: { delivered: 1 } })
  expect(found(good())).toEqual([])
})

test.each<[string, (run: Run) => unknown, string[]]>([
  ['has no end', (run) => run.results.clear(), ['lost']],
  ['counts as delivered, and nobody has it', (run) => void run.contacts.pop(), ['lost', 'counted without contact']],
  ['comes early', (run) => Object.assign(second(run.contacts), { at: T + 9000 }), ['early']],
  ['counts what nobody said', (run) => void run.contacts.shift(), ['counted without contact']],
  ['suppresses whom it delivered to', (run) => void run.suppressions.push({ address: recipient }), ['wrongly suppressed']],
  ['suppresses a stranger', (run) => void run.suppressions.push({ address: 'eve@example.org' }), ['wrongly suppressed']],
  [
    'suppresses before every retry was made',
    (run) => {
      run.results.set(recipient, { status: 'COMPLETED', result: { outcome: 'suppressed', retries: 1 } })
      run.attempts.pop()
      run.contacts.length = 1
      run.suppressions.push({ address: recipient })
    },
    ['wrongly suppressed'],
  ],
  [
    'sends twice',
    (run) => void run.contacts.push({ ...second(run.contacts), step: 'final dot', taken: true, at: T + 9900 }),
    ['sent twice'],
  ],
  [
    'is faster than the setting',
    (run) => {
      for (let i = 0; i < 102; i += 1)
        run.contacts.push({ ...first(run.contacts), recipient: null, step: 'connect', connection: `x${i}`, at: T + 20_000 + i * 40 })
    },
    ['above the rate'],
  ],
])('a run that %s is reported', (_, spoil, expected) => {
  const run = good()
  spoil(run)
  expect(found(run)).toEqual(expected)
})

test('a duplicate is explained by a fault of the same worker while the reply was in flight', () => {
  const twice = (worker: string, at: number) => {
    const run = good()
    run.contacts.push({ ...second(run.contacts), step: 'final dot', taken: true, at: T + 9900 })
    run.faults.push({ kind: 'kill', worker, at: T + at, until: T + at + 500 })
    return audit(run)
  }
  expect(twice('worker-0', 9450)).toMatchObject({ findings: { 'sent twice': [] }, explained: [expect.stringContaining('kill worker-0')] })
  expect(twice('worker-1', 9450).findings['sent twice']).toHaveLength(1)
  expect(twice('worker-0', 60_000).findings['sent twice']).toHaveLength(1)
})

test('a message whose connection was closed after the final dot each time may be nowhere: it ends unconfirmed', () => {
  const lost = (confirmed: boolean, maybe: number) => {
    const run = good()
    const at = (ms: number) => ({ ...first(run.contacts), at: T + ms, step: 'final dot', said: null, refused: false, drops: true })
    run.results.set(recipient, { status: 'COMPLETED', result: { outcome: 'delivered', confirmed, retries: 2 } })
    run.contacts.splice(0, 3, at(4100), at(9400))
    for (const attempt of run.attempts)
      Object.assign(attempt, { outcome: 'deferred', status: '4.4.2', stage: 'final dot', maybe_delivered: maybe })
    return audit(run)
  }
  expect(lost(false, 1)).toMatchObject({ findings: { lost: [] }, explained: [expect.stringContaining('unconfirmed')] })
  expect(lost(true, 1).findings.lost).toHaveLength(1)
  expect(lost(false, 0).findings.lost).toHaveLength(1)
})
