/**
 * Prometheus metrics. Counters count this process; gauges, and counters described as "of all processes", are read from the database at each
 * scrape, so every worker exports the same values: take their maximum over workers, not their sum. No label holds an address.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { type AttemptOutcome, isRetry, type Via } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import { DatabaseGauges, MOST_DESTINATIONS } from './database-gauges.js'
import { LabelLimiter } from './label-limiter.js'

const MOST_STATUSES = 100

/** Counters that activities and the intake increment, and gauges from the database. */
export class Metrics {
  readonly registry = new Registry()
  readonly #destinations = new LabelLimiter(MOST_DESTINATIONS)
  readonly #retries = this.#counter('softbounce_retries_total', 'Retries that were answered, by number and outcome', ['retry', 'outcome'])
  readonly #notNow = this.#counter(
    'softbounce_unavailable_deferrals_total',
    'Deferrals with 4.3.2; top 200 destinations, the rest as `other`',
    ['destination'],
  )
  readonly #permits = this.#counter('softbounce_permits_total', 'Permits that were acquired, and waits for one, by reason', ['result'])
  readonly #waits = new Histogram({
    name: 'softbounce_permit_wait_seconds',
    help: 'From the first request of a permit to the permit',
    buckets: [0.1, 1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600],
    registers: [this.registry],
  })
  readonly #mails = this.#counter(
    'softbounce_intake_mails_total',
    'Mails that came to the intake: accepted, or left with the mail system',
    ['source', 'result'],
  )
  readonly #notifications = this.#counter('softbounce_webhooks_total', 'Webhooks of providers, by what was answered', [
    'provider',
    'result',
  ])
  readonly #unknownEvents = this.#counter(
    'softbounce_provider_unknown_events_total',
    'Events of a type that the provider has not documented: listed as unreadable',
    ['provider'],
  )
  readonly #events = this.#counter('softbounce_events_total', 'Events published to the alternative channel, by type and result', [
    'type',
    'result',
  ])

  constructor() {
    collectDefaultMetrics({ register: this.registry })
    for (const source of ['lmtp', 'maildir', 'imap']) this.countMailsFrom(source)
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  /** A retry, or the send by the backup relay, was answered. */
  attemptAnswered(attempt: Via, outcome: AttemptOutcome, status: string, destination: string): void {
    const { retry } = attempt
    this.#retries.inc({ retry: !isRetry(attempt) ? 'backup' : retry > 20 ? 'more' : String(retry), outcome })
    if (status === '4.3.2' && isRetry(attempt)) this.#notNow.inc({ destination: this.#destinations.name(destination) })
  }

  permitAcquired(waitedMs: number): void {
    this.#permits.inc({ result: 'acquired' })
    this.#waits.observe(waitedMs / 1000)
  }

  permitWaited(why: string): void {
    this.#permits.inc({ result: why })
  }

  /** Starts the counters at 0: Prometheus sees an increase only from an earlier sample. */
  countMailsFrom(source: string): void {
    for (const result of ['accepted', 'failed']) this.#mails.inc({ source, result }, 0)
  }

  mailCame(source: string, result: 'accepted' | 'failed'): void {
    this.#mails.inc({ source, result })
  }

  webhookReceived(provider: string, result: 'kept' | 'unneeded' | 'repeated' | 'refused' | 'unreadable' | 'failed'): void {
    this.#notifications.inc({ provider, result })
  }

  /** An event whose type is not in EVENT_TYPES. */
  unknownEventCame(provider: string): void {
    this.#unknownEvents.inc({ provider })
  }

  /** Starts the counters of a provider's webhooks at 0. */
  initWebhookCounters(provider: string): void {
    this.countMailsFrom(provider)
    this.#unknownEvents.inc({ provider }, 0)
  }

  eventPublished(type: string, result: 'published' | 'failed'): void {
    this.#events.inc({ type, result })
  }

  /** Adds the metrics that are read from the database. */
  watch(database: Database, databaseFault: () => Promise<string | null>, now: () => Date = () => new Date()): void {
    const gauges = new DatabaseGauges(database, now)
    // reserve the label values for the destinations with most 4.3.2; new ones get what is left
    gauges
      .saidNotNowMost(MOST_DESTINATIONS)
      .then((names) => {
        for (const name of names) this.#destinations.name(name)
      })
      .catch(() => {})
    new Gauge({
      ...{ name: 'softbounce_database_up', help: '1 if the database answers and accepts writes', registers: [this.registry] },
      async collect(this: Gauge) {
        this.set((await databaseFault()) === null ? 1 : 0)
      },
    })
    // a failing database must not hide this process's own counters
    const quietly = (collect: () => Promise<void>) => collect().catch(() => {})
    const gauge = <Label extends string>(
      name: string,
      help: string,
      labelNames: Label[],
      collect: (gauge: Gauge<Label>) => Promise<void>,
    ) =>
      new Gauge({
        ...{ name, help, labelNames, registers: [this.registry] },
        async collect(this: Gauge<Label>) {
          this.reset()
          await quietly(() => collect(this))
        },
      })
    gauge('softbounce_open_messages', 'Messages with open retries, by destination', ['destination'], async (g) => {
      for (const [destination, n] of (await gauges.look()).open) g.set({ destination }, n)
    })
    gauge('softbounce_waiting_for_permit', 'Messages whose retry is due and waits for its permit', [], async (g) => {
      g.set((await gauges.look()).waitingForPermit)
    })
    gauge('softbounce_oldest_due_retry_seconds', 'For how long the retry that is due longest has waited', [], async (g) => {
      g.set((await gauges.look()).oldestDueMs / 1000)
    })
    gauge(
      'softbounce_destinations_degrading',
      'Destinations with more bounces than usual for the hour of the week, not down yet',
      [],
      async (g) => {
        g.set((await gauges.look()).degrading)
      },
    )
    gauge('softbounce_outages', 'Destinations that refuse (failing), and those that are down', ['state'], async (g) => {
      const { failing, down } = await gauges.look()
      g.set({ state: 'failing' }, failing - down)
      g.set({ state: 'down' }, down)
    })
    gauge('softbounce_destination_down_seconds', 'For how long a destination has been down', ['destination'], async (g) => {
      for (const [destination, ms] of (await gauges.look()).longestDown) g.set({ destination }, ms / 1000)
    })
    gauge('softbounce_suppressed_addresses', 'Addresses that are suppressed now, by reason', ['reason'], async (g) => {
      for (const [reason, n] of (await gauges.look()).suppressed) g.set({ reason }, n)
    })
    gauge('softbounce_ended_messages', 'Messages that ended in the last 24 hours, by outcome', ['outcome'], async (g) => {
      for (const [outcome, n] of Object.entries((await gauges.look()).ended)) g.set({ outcome }, n)
    })
    const statuses = new LabelLimiter(MOST_STATUSES)
    const bounces = new Counter({
      name: 'softbounce_bounces_total',
      help: 'Bounces that came in since this process began, of all processes, by status and what was done',
      labelNames: ['status', 'disposition'],
      registers: [this.registry],
      async collect(this: Counter<'status' | 'disposition'>) {
        await quietly(async () => {
          for (const { status, disposition, n } of await gauges.newBounces())
            this.inc(
              {
                status: status === null ? 'none' : statuses.name(/^[245]\.\d{1,3}\.\d{1,3}$/.test(status) ? status : 'other'),
                disposition,
              },
              n,
            )
        })
      },
    })
    bounces.inc({ status: 'none', disposition: 'unreadable' }, 0)
    new Counter({
      name: 'softbounce_suppressions_total',
      help: 'Changes of the suppression list since this process began, of all processes, by reason',
      labelNames: ['reason', 'change'],
      registers: [this.registry],
      async collect(this: Counter<'reason' | 'change'>) {
        await quietly(async () => {
          for (const { reason, change, n } of await gauges.newSuppressions()) this.inc({ reason, change }, n)
        })
      },
    })
  }
}
