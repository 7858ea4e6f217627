/**
 * Random lives of bounced messages, and their judge. The judge knows the promises, not the workflow: it reads the Temporal history,
 * the scripted answers of the sends, and the database.
 */
import fc from 'fast-check'
import { type Bounce, encodeToken, type RetryResult } from '../../src/bounce/index.js'

/** An action by a user, mail system or operator, `afterMs` after the previous one. */
export type Step = { readonly afterMs: number } & (
  | { readonly signal: 'retryNow'; readonly args: readonly { retry: number }[] }
  | {
      readonly signal: 'bouncedAgain'
      readonly bounce: Pick<Bounce, 'status'> & { readonly [key in 'action' | 'token']?: Bounce[key] | undefined }
      readonly bouncedAgoMs: number
    }
  | { readonly signal: 'giveUp' }
  | { readonly signal: 'cancel' }
)

export type Answer = 'accepted' | 'relayed' | 'deferred' | 'ambiguous' | 'rejected' | 'rejected for good' | 'expired'

export interface Life {
  /** In ms. */
  readonly schedule: readonly number[]
  /** One for each retry. */
  readonly answers: readonly Answer[]
  /** Local failures of each send before its answer. */
  readonly troubles: readonly number[]
  /** Failures of each other activity before it succeeds. */
  readonly databaseAway: number
  readonly steps: readonly Step[]
}

export const TROUBLE_MS = 3000
export const CONFIRM_WITHIN_MS = 3_600_000

const token = (send: number) => encodeToken({ id: '00'.repeat(10), day: 1, send }, new Uint8Array(10))
const answer = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom<Answer>('deferred') },
  { weight: 4, arbitrary: fc.constantFrom<Answer>('accepted', 'relayed', 'ambiguous', 'rejected', 'rejected for good', 'expired') },
)
const bounce = fc.record({
  status: fc.constantFrom('4.3.2', '4.4.7', '5.1.1', '5.7.1', '2.0.0', '5.4.7'),
  action: fc.constantFrom('failed', 'delayed', 'delivered', 'relayed', undefined),
  token: fc.option(
    fc.integer({ min: 0, max: 4 }).map((retry) => token(retry)),
    { nil: undefined },
  ),
})
const ago = fc.constantFrom(0, 1, 500, 60_000, 3_600_000)
const act = fc.oneof(
  fc.constantFrom(
    { signal: 'retryNow' as const, args: [] },
    { signal: 'retryNow' as const, args: [{ retry: 1 }] },
    { signal: 'retryNow' as const, args: [{ retry: 2 }] },
    { signal: 'giveUp' as const },
    { signal: 'cancel' as const },
  ),
  fc.record({ signal: fc.constant('bouncedAgain' as const), bounce, bouncedAgoMs: ago }),
)
/** Delays that coincide with the timers: a retry is due its delay plus up to a tenth after the previous one. */
const after = (delays: readonly number[]) =>
  fc.oneof(
    fc.constantFrom(0, 1, 5),
    fc.tuple(fc.constantFrom(...delays), fc.integer({ min: 0, max: 110 })).map(([delay, percent]) => Math.floor((delay * percent) / 100)),
    fc.tuple(fc.constantFrom(...delays, TROUBLE_MS), fc.integer({ min: 0, max: 100 })).map(([delay, more]) => delay + more),
    fc.constant(CONFIRM_WITHIN_MS),
  )

export const aLife: fc.Arbitrary<Life> = fc
  .array(fc.constantFrom(1000, 2000, 60_000, 3_600_000), { minLength: 1, maxLength: 4 })
  .chain((schedule) =>
    fc.record({
      schedule: fc.constant(schedule),
      answers: fc.array(answer, { minLength: schedule.length, maxLength: schedule.length }),
      troubles: fc.array(fc.constantFrom(0, 0, 0, 1, 2), { minLength: schedule.length, maxLength: schedule.length }),
      databaseAway: fc.constantFrom(0, 0, 0, 1, 3),
      steps: fc.array(
        fc.tuple(after(schedule), act).map(([afterMs, what]): Step => ({ afterMs, ...what })),
        { maxLength: 5 },
      ),
    }),
  )

/** What happened, in history order. */
export type Happened =
  | { readonly kind: 'signal'; readonly name: string; readonly args: readonly unknown[]; readonly atMs: number }
  | { readonly kind: 'cancel'; readonly atMs: number }
  /** The workflow decided to send, having seen the first `seen` events. */
  | { readonly kind: 'send'; readonly retry: number; readonly atMs: number; readonly seen: number }
  | { readonly kind: 'answered'; readonly retry: number; readonly atMs: number }
  | { readonly kind: 'suppress'; readonly atMs: number; readonly seen: number }

export interface Lived {
  readonly happened: readonly (Happened & { readonly event: number })[]
  readonly bouncedAtMs: number
  readonly end: { readonly result: RetryResult } | 'cancelled' | { readonly failed: string }
  readonly suppressed: 'for good' | 'for a while' | null
}

/** The broken promises of a life; empty if all were kept. */
export function faultsOf(life: Life, { happened, bouncedAtMs, end, suppressed }: Lived): string[] {
  const faults: string[] = []
  const hold = (so: boolean, otherwise: string) => {
    if (!so) faults.push(otherwise)
  }
  const sends = happened.filter((one) => one.kind === 'send')
  const signals = happened.filter((one) => one.kind === 'signal')
  const gaveUp = signals.find(({ name }) => name === 'giveUp')
  const cancel = happened.find(({ kind }) => kind === 'cancel')
  const notices = signals.filter(({ name }) => name === 'bouncedAgain')

  if (typeof end === 'object' && 'failed' in end) return [`it failed: ${end.failed}`]
  // each retry once, in order
  hold(
    sends.every(({ retry }, i) => retry === i + 1),
    `the sends were ${sends.map(({ retry }) => retry)}`,
  )
  hold(sends.length <= life.schedule.length, 'more sends than retries')
  // never early, except by retryNow
  for (const [i, send] of sends.entries()) {
    const before = happened.findLast((one) => one.kind === 'answered' && one.event < send.event)
    const dueMs = (before?.atMs ?? bouncedAtMs) + (life.schedule[i] as number)
    const asked = signals.some(({ name, event }) => name === 'retryNow' && event > (before?.event ?? 0) && event < send.event)
    hold(send.atMs >= dueMs - 50 || asked, `retry ${send.retry} went ${dueMs - send.atMs} ms early`)
  }
  // no send follows a final answer
  for (const send of sends.slice(0, -1)) {
    const said = life.answers[send.retry - 1]
    hold(said === 'deferred' || said === 'ambiguous' || said === 'relayed', `retry ${send.retry} was ${said}, and another followed`)
  }
  // no send is decided after giveUp or a cancellation
  for (const stop of [gaveUp, cancel])
    if (stop !== undefined)
      for (const send of sends)
        hold(send.seen < stop.event, `retry ${send.retry} was decided on after ${stop.kind === 'cancel' ? 'cancel' : 'giveUp'}`)
  if (end === 'cancelled') {
    hold(cancel !== undefined, 'nobody cancelled it')
    hold(!happened.some(({ kind }) => kind === 'suppress'), 'cancelled, and suppressed all the same')
    hold(suppressed === null, 'cancelled, and on the list')
    return faults
  }
  const { result } = end
  hold(
    cancel === undefined ||
      happened.some((one) => one.kind === 'suppress' && one.seen < cancel.event) ||
      cancel.event === happened.at(-1)?.event,
    `cancelled while nothing irrevocable had begun, and it ended as ${result.outcome}`,
  )
  // a send that was cancelled meanwhile was never answered
  const answers = happened.filter((one) => one.kind === 'answered').map(({ retry }) => life.answers[retry - 1] as Answer)
  const said = answers.at(-1)
  const final = (successes: boolean) =>
    notices.some(({ args }) => {
      const { status, action } = args[0] as { status: string; action?: string }
      const success = action === 'delivered' || action === 'relayed' || (action === undefined && status.startsWith('2'))
      return successes ? success : !success && status.startsWith('5')
    })
  switch (result.outcome) {
    case 'delivered':
      hold(
        said === 'accepted' || said === 'relayed' || final(true) || answers.every((one) => one === 'ambiguous'),
        `delivered, but the last answer was ${said}`,
      )
      if (result.confirmed) hold(said === 'accepted' || final(true), 'confirmed by nobody')
      hold(suppressed === null, 'delivered, and on the list')
      break
    case 'suppressed':
      hold(suppressed === 'for a while', `suppressed, and the list says ${suppressed}`)
      hold(gaveUp !== undefined || sends.length === life.schedule.length, 'suppressed before the schedule was through')
      hold(said !== 'accepted', 'suppressed, though the last send was taken')
      hold(said !== 'relayed' || gaveUp !== undefined || notices.length > 0, 'suppressed, though a relay took it and no word came')
      hold(
        gaveUp !== undefined || notices.length > 0 || !answers.every((one) => one === 'ambiguous'),
        'suppressed for lost connections alone',
      )
      break
    case 'rejected':
      hold(said === 'rejected' || said === 'rejected for good' || final(false), 'rejected by nobody')
      hold(suppressed !== 'for a while', 'rejected, and suppressed for a while')
      break
    case 'expired':
      hold(said === 'expired', 'expired by nobody')
      break
  }
  // without signals or cancellation, the answers determine the end
  if (happened.every(({ kind }) => kind !== 'signal' && kind !== 'cancel')) {
    const expected = untouched(life.answers)
    hold(result.outcome === expected, `untouched, and it ended as ${result.outcome} in place of ${expected}`)
  }
  // giving up while waiting ends it at once
  const only = signals.length === 1 && cancel === undefined
  if (only && gaveUp !== undefined && !sends.some(({ event }) => event > gaveUp.event) && isWaiting(life, happened, gaveUp.event))
    hold(result.outcome === 'suppressed', `given up while it waited, and it ended as ${result.outcome}`)
  // "no such user" while waiting ends it for good
  const [notice] = notices
  if (only && notice !== undefined && isWaiting(life, happened, notice.event)) {
    const { status, action } = notice.args[0] as { status: string; action?: string }
    if (status === '5.1.1' && (action === 'failed' || action === undefined))
      hold(result.outcome === 'rejected' && suppressed === 'for good', `5.1.1 came while it waited, and it ended as ${result.outcome}`)
    if (action === 'delayed' || (status.startsWith('4') && action === 'failed'))
      hold(result.outcome === untouched(life.answers), `a late notice changed the end to ${result.outcome}`)
  }
  return faults
}

/** Whether the last send before the event was deferred, or nothing was sent yet. */
function isWaiting({ answers }: Life, happened: Lived['happened'], event: number): boolean {
  const last = happened.findLast((one) => one.event < event && (one.kind === 'send' || one.kind === 'answered'))
  if (last === undefined) return true
  return last.kind === 'answered' && ['deferred', 'ambiguous'].includes(answers[last.retry - 1] as Answer)
}

function untouched(answers: readonly Answer[]): RetryResult['outcome'] {
  for (const answer of answers) {
    if (answer === 'accepted' || answer === 'relayed') return 'delivered'
    if (answer === 'rejected' || answer === 'rejected for good') return 'rejected'
    if (answer === 'expired') return 'expired'
  }
  return answers.every((answer) => answer === 'ambiguous') ? 'delivered' : 'suppressed'
}
