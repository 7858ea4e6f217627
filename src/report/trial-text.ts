/** Schedules on trial, for a terminal. */
import { brief, minute, number, percent, range, scheduleInWords } from './format.js'
import { columns, heading, wrapped } from './text-layout.js'
import type { Interval, Trial, TrialArm } from './trial.js'

export function trialText(trial: Trial | null): string[] {
  if (trial === null) return []
  const [reference] = trial.arms
  return [
    ...heading('Schedules on trial'),
    ...wrapped(
      reference?.messages === 0
        ? `From ${minute(trial.since)} to ${minute(trial.until)} several schedules were in use; no message is old enough yet for the longest of them to be over.`
        : `From ${minute(trial.since)} to ${minute(trial.until)}, of messages whose longest schedule would be over. Ranges are 95 % confidence intervals.`,
    ),
    ...columns([['', 'messages', 'delivered', '', 'median', 'retries'], ...trial.arms.map(trialRow)]),
    ...trial.arms.flatMap((arm) => (arm.difference === null ? [] : wrapped(verdictOf(arm)))),
  ]
}

/** A schedule with its messages, the share delivered and its interval, the median and the retries. */
export const trialRow = (arm: TrialArm): string[] => [
  scheduleInWords(arm.delaysMs),
  number(arm.messages),
  ...(arm.messages === 0 ? ['–', ''] : [percent(arm.share.value), range(percent(arm.share.from), percent(arm.share.to))]),
  medianInWords(arm),
  arm.retriesEach.toFixed(1),
]

const points = (share: number) => `${share > 0 ? '+' : share < 0 ? '−' : ''}${Math.abs(share * 100).toFixed(1)}`

/** `5.1 h (4.9 h–5.3 h)`. */
export const medianInWords = ({ medianMs }: TrialArm): string =>
  medianMs === null ? '–' : `${brief(medianMs.value)} (${brief(medianMs.from)}–${brief(medianMs.to)})`

/** `+1.2 (−0.4 to +2.8)`: percentage points. */
export const differenceInWords = ({ difference, messages }: TrialArm): string =>
  difference === null || messages === 0 ? '–' : `${points(difference.value)} (${points(difference.from)} to ${points(difference.to)})`

const excludesNone = ({ from, to }: Interval) => from > 0 || to < 0

/** What the difference says. */
export function verdictOf(arm: TrialArm): string {
  const name = scheduleInWords(arm.delaysMs)
  if (arm.difference === null || arm.messages === 0) return `${name}: nothing to compare yet.`
  const points = `${differenceInWords(arm)} percentage points`
  if (!excludesNone(arm.difference)) return `${name}: no certain difference to the first, ${points}.`
  return `${name} delivers ${arm.difference.value > 0 ? 'more' : 'less'} than the first: ${points}.`
}
