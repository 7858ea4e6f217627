/** The schedules of other mail systems and of providers, by their documents. */
import type { Candidate } from './replay.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Delays that double from the first to the longest, for as long as the message may live. */
function doubling(firstMs: number, longestMs: number, lifetimeMs: number): number[] {
  const delays: number[] = []
  let age = 0
  for (let delay = firstMs; age + delay <= lifetimeMs; delay = Math.min(2 * delay, longestMs)) {
    delays.push(delay)
    age += delay
  }
  return delays
}

const each = (ms: number, lifetimeMs: number) => doubling(ms, ms, lifetimeMs)

/** RFC 5321, section 4.5.4.1: "the retry interval SHOULD be at least 30 minutes". */
const RECOMMENDED_MS = 30 * MINUTE_MS

/** A schedule, and where it is documented. */
export interface KnownSchedule extends Candidate {
  readonly source: string
}

export const KNOWN_SCHEDULES: readonly KnownSchedule[] = [
  {
    ...{ name: 'Postfix', delaysMs: doubling(300_000, 4_000_000, 5 * DAY_MS), isStaggered: false },
    source: 'minimal_backoff_time, maximal_backoff_time, maximal_queue_lifetime: https://www.postfix.org/postconf.5.html',
  },
  {
    ...{ name: 'KumoMTA', delaysMs: doubling(20 * MINUTE_MS, Number.POSITIVE_INFINITY, 7 * DAY_MS), isStaggered: false },
    source: 'retry_interval, max_age: https://docs.kumomta.com/reference/kumo/make_queue_config/',
  },
  {
    ...{ name: 'Haraka', delaysMs: doubling(64_000, Number.POSITIVE_INFINITY, 262_080_000), isStaggered: false },
    source: 'temp_fail_intervals and maxTempFailures, 12 delays from 64 s: https://haraka.github.io/core/Outbound',
  },
  {
    ...{ name: 'Mailgun', delaysMs: [10, 15, 30, 60, 120, 240].map((minutes) => minutes * MINUTE_MS), isStaggered: false },
    source: 'https://help.mailgun.com/hc/en-us/articles/28956111811355-Will-Mailgun-retry-my-failed-messages',
  },
  {
    ...{ name: 'SendGrid', delaysMs: each(RECOMMENDED_MS, 72 * HOUR_MS), isStaggered: false },
    source: '72 h, at intervals that are not documented (30 min assumed): https://www.twilio.com/docs/sendgrid/ui/sending-email/deferrals',
  },
  {
    ...{ name: 'Amazon SES', delaysMs: each(RECOMMENDED_MS, 14 * HOUR_MS), isStaggered: false },
    source:
      '14 h, at intervals that are not documented (30 min assumed): MaxDeliverySeconds, https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_DeliveryOptions.html',
  },
]
