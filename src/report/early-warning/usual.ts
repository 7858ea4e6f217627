/**
 * Whether a destination's bounces with 4.3.2 in the last hour are more than usual for this hour of the week. The rule: their number against
 * its own last four weeks, as a Poisson count whose mean is uncertain and varies from week to week (a negative binomial distribution). Pure.
 */

/** The last hour, and the same hour of earlier weeks. */
export interface Counted {
  /** Bounces with 4.3.2 in the last hour. */
  readonly lastHour: number
  /** For each earlier week that the log has. */
  readonly earlierWeeks: readonly {
    /** Bounces in the same hour. */
    readonly hour: number
    /** In the three hours around it, itself included. */
    readonly around: number
  }[]
}

/** What is usual, and how unusual the last hour is. */
export interface Judged {
  /** Mean bounces an hour. */
  readonly usual: number
  /** How likely as many bounces are if nothing has changed. */
  readonly pValue: number
  readonly isDegrading: boolean
  /** It is as usual again: what was reported is over. */
  readonly isUsual: boolean
}

/** Weeks that are looked back on; with fewer than two nothing is said. */
export const WEEKS = 4
const LEAST_WEEKS = 2
/** Hours that are counted around the same one in each earlier week: a single one has too few bounces. */
const HOURS = 3
/** Fewer bounces in an hour are never reported. */
export const LEAST_BOUNCES = 5
/**
 * A check each five minutes is 288 a day: if traffic follows the rule, one false alarm in 35,000 destination-days is left. Traffic that grows, or
 * varies more, has more: test/report/early-warning.test.ts counts them.
 */
const MOST_P_VALUE = 1e-7
/** Nothing is over as long as the last hour is rarer than this. */
const USUAL_P_VALUE = 0.01
/** What is added to the count and the hours of the weeks: a destination that never bounced is not expected to have none for ever. */
const PRIOR = { bounces: 0.5, hours: 1 } as const
/** The least and the most that traffic is taken to differ from hour to hour: its squared coefficient of variation. */
const OVERDISPERSION = { least: 0.1, most: 2 } as const

/** @returns null if the log is too short to say. */
export function judge({ lastHour, earlierWeeks }: Counted): Judged | null {
  if (earlierWeeks.length < LEAST_WEEKS) return null
  const around = earlierWeeks.map((week) => week.around)
  const sum = (counts: readonly number[]) => counts.reduce((total, n) => total + n, 0)
  const bounces = sum(around) + PRIOR.bounces
  // where the hour differs from those beside it, as at the start of a working day, the busier figure counts
  const usual = Math.max(bounces / (HOURS * around.length + PRIOR.hours), sum(earlierWeeks.map(({ hour }) => hour)) / around.length)
  const variation = 1 / bounces + variationOf(around)
  const pValue = upperTail(lastHour, usual, 1 / variation)
  return { usual, pValue, isDegrading: lastHour >= LEAST_BOUNCES && pValue < MOST_P_VALUE, isUsual: pValue > USUAL_P_VALUE }
}

/** How much the weeks differ beyond pValue: the squared coefficient of variation. */
function variationOf(weeks: readonly number[]): number {
  const mean = weeks.reduce((sum, n) => sum + n, 0) / weeks.length
  if (mean === 0) return OVERDISPERSION.least
  const variance = weeks.reduce((sum, n) => sum + (n - mean) ** 2, 0) / (weeks.length - 1)
  return Math.min(OVERDISPERSION.most, Math.max(OVERDISPERSION.least, (variance - mean) / mean ** 2))
}

/** The chance of at least `k` by a negative binomial distribution of this mean and shape. */
export function upperTail(k: number, mean: number, shape: number): number {
  if (k <= 0) return 1
  const p = mean / (mean + shape)
  // the terms from k on fall at last by the factor p
  let term = Math.exp(logTerm(k, p, shape))
  let sum = term
  for (let i = k; term > sum * 1e-12 && i < k + 1_000_000; i += 1) {
    term *= (p * (i + shape)) / (i + 1)
    sum += term
    if (i > 10 * (mean + k) && term < 1e-300) break
  }
  return Math.min(1, sum)
}

const logTerm = (k: number, p: number, shape: number) =>
  logGamma(k + shape) - logGamma(shape) - logGamma(k + 1) + k * Math.log(p) + shape * Math.log1p(-p)

/** Lanczos' approximation. */
function logGamma(x: number): number {
  const coefficients = [
    76.18009172947146, -86.50532032941678, 24.01409824083091, -1.231739572450155, 0.001208650973866179, -5.395239384953e-6,
  ]
  const base = x + 5.5
  const series = coefficients.reduce((sum, coefficient, i) => sum + coefficient / (x + 1 + i), 1.000000000190015)
  return (x + 0.5) * Math.log(base) - base + Math.log((2.5066282746310007 * series) / x)
}
