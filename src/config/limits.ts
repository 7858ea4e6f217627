/** Settings of the throttle. */
import { z } from 'zod'
import type { Provider } from '../providers/index.js'
import { formatRate, type PartialLimits, parseRate, type ThrottleSettings } from '../throttle/limits.js'
import type { RelayValues } from './connection.js'
import { caselessName, DAY, duration, HOUR, integer, matching, parsed, SECOND, section, setting } from './field.js'
import type { AddFault } from './wrong-settings.js'

const rate = parsed(parseRate)
const connections = integer(1, 1000)
const deliveries = integer(1, 10_000)
const mailHost = caselessName.pipe(
  z
    .string()
    .regex(/^(?:\*\.)?[a-z0-9_][a-z0-9._-]{0,252}$/, { error: 'it must be a host name, or *.example.com for all hosts below a domain' }),
)

const GROUPS = z.array(
  z.strictObject({
    name: matching(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'lower-case letters, digits, ., _ and -').meta({
      description: 'The name of the destination.',
    }),
    hosts: z.array(mailHost).min(1, { error: 'it must name a mail host' }).meta({ description: 'Mail hosts, such as `*.google.com`.' }),
  }),
)

const DESTINATIONS = z.record(
  z.string(),
  z.strictObject({
    minMessageRate: rate.optional().meta({ description: 'As `throttle.minMessageRate`.' }),
    maxMessageRate: rate.optional().meta({ description: 'As `throttle.maxMessageRate`.' }),
    connectionLimit: connections.optional().meta({ description: 'As `throttle.connectionLimit`.' }),
    maxDeliveriesPerConnection: deliveries.optional().meta({ description: 'As `throttle.maxDeliveriesPerConnection`.' }),
  }),
)

export const THROTTLE = section(
  'Limits per destination, which hold across all workers. A destination is one receiving system: a name in `throttle.groups`, else the registrable domain of its mail host (`google.com` for all domains that it hosts).',
  {
    minMessageRate: setting(
      'The message rate at which a destination is contacted at first, and after it failed (`2/s`, `30/min`). Default: `1/s`, or `maxMessageRate` if that is lower.',
      rate.optional(),
    ),
    maxMessageRate: setting('The highest message rate to a destination, however well it accepts messages.', rate.prefault('20/s')),
    connectionLimit: setting('Maximum connections to a destination at once, of all workers together; at first 1.', connections.prefault(5)),
    maxDeliveriesPerConnection: setting('Maximum messages in one SMTP session.', deliveries.prefault(20)),
    failuresBeforeDown: setting(
      'After this many failures in a row (4.3.2, 421, refused or timed-out connections) a destination counts as down.',
      integer(1, 100).prefault(5),
    ),
    probeInterval: setting('How often a destination that is down is probed, with one message.', duration(SECOND, HOUR).prefault('1min')),
    maxQueueDelay: setting(
      'How long a retry that is due waits for a destination that is down; then it is tried all the same, at the lowest rate.',
      duration(SECOND, 24 * HOUR).prefault('15min'),
    ),
    releaseWithin: setting(
      'When a destination that was down accepts mail again, send the retries that wait for it early, spread over this time; at most once an hour. Left out: they keep their schedule.',
      duration(SECOND, 7 * DAY).optional(),
    ),
    groups: setting(
      'Mail hosts that belong to one destination. Hosts in no group are grouped by their registrable domain.',
      GROUPS.prefault([]),
    ),
    destinations: setting('Limits of single destinations, by name.', DESTINATIONS.prefault({})),
  },
)

/**
 * Default rates that the providers document, in messages a second: SES in its sandbox
 * (https://docs.aws.amazon.com/ses/latest/dg/quotas.html), Resend for each team
 * (https://resend.com/docs/api-reference/rate-limit). The others name none.
 */
const PROVIDER_RATES: Readonly<Partial<Record<Provider, number>>> = { ses: 1, resend: 5 }
const DEFAULT_MIN_RATE = 1
/** In effect no rate limit, messages a second. */
const NO_RATE = 10_000

export function throttleSettings(
  throttle: z.output<typeof THROTTLE>,
  relay: RelayValues,
  restoreWithinMs: number,
  fault: AddFault,
): ThrottleSettings {
  const { minMessageRate, maxMessageRate, groups } = throttle
  if (minMessageRate !== undefined && minMessageRate > maxMessageRate)
    fault('throttle.minMessageRate', `${formatRate(minMessageRate)} is higher than throttle.maxMessageRate, ${formatRate(maxMessageRate)}`)
  for (const [i, { name }] of groups.entries())
    if (groups.findIndex((other) => other.name === name) !== i) fault(`throttle.groups.${i}.name`, `there are two groups named ${name}`)
  const relayRate = relay.maxMessageRate ?? (relay.provider === undefined ? undefined : PROVIDER_RATES[relay.provider]) ?? NO_RATE
  return {
    limits: {
      minMessageRate: Math.min(minMessageRate ?? DEFAULT_MIN_RATE, maxMessageRate),
      maxMessageRate,
      connections: throttle.connectionLimit,
      maxDeliveriesPerConnection: throttle.maxDeliveriesPerConnection,
    },
    failuresBeforeDown: throttle.failuresBeforeDown,
    probeIntervalMs: throttle.probeInterval,
    maxQueueDelayMs: throttle.maxQueueDelay,
    groups,
    destinationLimits: new Map(Object.entries(throttle.destinations).map(([name, limits]) => [name.toLowerCase(), partialLimits(limits)])),
    relay: {
      minMessageRate: relayRate,
      maxMessageRate: relayRate,
      connections: relay.connectionLimit,
      maxDeliveriesPerConnection: throttle.maxDeliveriesPerConnection,
    },
    releaseOnRecovery: throttle.releaseWithin !== undefined,
    releaseWithinMs: throttle.releaseWithin ?? HOUR,
    restoreWithinMs,
  }
}

function partialLimits({ connectionLimit, ...rates }: z.output<typeof DESTINATIONS>[string]): PartialLimits {
  const limits = { ...rates, connections: connectionLimit }
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
}
