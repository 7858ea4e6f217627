/** Settings of direct delivery and of the throttle. */
import dns from 'node:dns'
import { isIP } from 'node:net'
import { z } from 'zod'
import type { DirectSettings } from '../delivery/index.js'
import { formatRate, parseLimits, parseRate, type ThrottleSettings } from '../throttle/limits.js'
import { parseDestinationGroups } from '../throttle/mx-groups.js'
import { duration, flag, HOUR, integer, names, parsed, SECOND } from './parsers.js'

const MINUTE = 60 * SECOND
const rate = parsed(parseRate)

/** IP addresses of name servers, each with an optional port. */
const servers = parsed((text) =>
  text
    .split(/[\s,]+/)
    .filter((server) => server !== '')
    .map((server) => {
      const host = /^\[(.+)\](?::\d{1,5})?$/.exec(server)?.[1] ?? (isIP(server) === 6 ? server : server.replace(/:\d{1,5}$/, ''))
      if (isIP(host) === 0) throw new Error(`"${server}" is not an address such as 192.0.2.53, 127.0.0.1:5353 or [2001:db8::53]:53`)
      return server
    }),
)

export const DELIVERY_SETTINGS = {
  DELIVERY: {
    default: 'relay',
    doc: 'How mail goes if no route is set: `relay`, by `RELAY_URL`; or `direct`, to the MX hosts of the recipient’s domain.',
    schema: z.enum(['relay', 'direct'], { error: 'it must be relay or direct' }),
  },
  MTA_STS: {
    default: 'true',
    doc: 'Direct delivery keeps to the receiving domain’s MTA-STS policy (RFC 8461): verified TLS if the policy demands it, and never clear text instead.',
    schema: flag,
  },
  DANE: {
    default: 'false',
    doc: 'Direct delivery checks certificates by TLSA records (RFC 7672). Only with name servers that validate DNSSEC, and Node 22.15 or later, which can ask for these records.',
    schema: flag,
  },
  DNS_SERVERS: {
    default: '',
    doc: 'Name servers that direct delivery asks, such as `192.0.2.53` or `127.0.0.1:5353`. Default: this machine’s.',
    schema: servers,
  },
  SOURCE_ADDRESSES: {
    default: '',
    doc: 'Our own addresses that direct delivery connects from: one IPv4, one IPv6, or both. With only one, mail hosts of the other family cannot be reached.',
    schema: names.refine((all) => all.every((address) => isIP(address) !== 0) && new Set(all.map(isIP)).size === all.length, {
      error: 'it must be one IPv4 address, one IPv6 address, or both',
    }),
  },
  MX_PORT: { default: '25', doc: 'The port of mail hosts: 25, except for tests.', schema: integer(1, 65_535) },
  MX_MAY_BE_LOCAL: {
    default: 'false',
    doc: 'Direct delivery also meets mail hosts whose addresses are not public (loopback, private, link-local and the like). Off, since a stranger’s domain may name hosts of our own network.',
    schema: flag,
  },
} as const

export const THROTTLE_SETTINGS = {
  DESTINATIONS: {
    default: '',
    doc: 'Mail hosts that are one receiving system: `google=*.google.com,*.googlemail.com; microsoft=*.outlook.com`. Others are one by their registrable domain.',
    schema: parsed(parseDestinationGroups),
  },
  LOWEST_RATE: {
    default: '1/s',
    doc: 'The rate that a receiving system is limited to first, and after it failed (`2/s`, `30/min`).',
    schema: rate,
  },
  HIGHEST_RATE: {
    default: '20/s',
    doc: 'The highest rate at which a destination is contacted, however well it accepts messages.',
    schema: rate,
  },
  HIGHEST_CONNECTIONS: {
    default: '5',
    doc: 'Most connections to one receiving system at once, of all workers together; the first is 1.',
    schema: integer(1, 1000),
  },
  MESSAGES_PER_CONNECTION: { default: '20', doc: 'Most messages in one session.', schema: integer(1, 10_000) },
  LIMITS: {
    default: '',
    doc: 'Limits of single receiving systems: `example.org: rate 2/s, connections 2; google: rate 10/s, lowest rate 1/s, messages per connection 50`.',
    schema: parsed(parseLimits),
  },
  DOWN_AFTER: {
    default: '5',
    doc: 'After so many failures in a row (4.3.2, 421, refused or timed-out connections) a receiving system counts as down.',
    schema: integer(1, 100),
  },
  ASK_WHILE_DOWN_EVERY: {
    default: '1min',
    doc: 'How often a receiving system that is down is asked, with one message.',
    schema: duration(SECOND, HOUR),
  },
  LONGEST_WAIT: {
    default: '15min',
    doc: 'How long a message waits beyond its time for a receiving system that is down; then it makes its own try, at the lowest rate. Nothing that waits for a turn sleeps longer than that without looking again.',
    schema: duration(SECOND, 24 * HOUR),
  },
  RELAY_RATE: {
    default: '',
    doc: 'The rate at which the relay is contacted, by all workers together (a provider’s `14/s`). Default: that of `RELAY_PRESET`, else as fast as permits allow.',
    schema: parsed((text) => (text === '' ? null : parseRate(text))),
  },
  RELAY_CONNECTIONS: { default: '20', doc: 'Most connections to the relay at once, of all workers together.', schema: integer(1, 1000) },
  RELEASE_ON_RECOVERY: {
    default: 'false',
    doc: 'When a receiving system that was down takes messages again, the retries that wait for it go early, spread over `RELEASE_WITHIN`; at most once an hour.',
    schema: flag,
  },
  RELEASE_WITHIN: {
    default: '1h',
    doc: 'How long a release by itself takes; `softbounce release --within` says it for one.',
    schema: duration(SECOND, 7 * 24 * HOUR),
  },
  RESTORE_WITHIN: {
    default: '1h',
    doc: 'When a destination accepts mail again, the suppressions that its unavailability caused expire within this time, spread out.',
    schema: duration(MINUTE, 7 * 24 * HOUR),
  },
} as const

type Read<All extends Record<string, { readonly schema: z.ZodType }>> = { [Name in keyof All]: z.infer<All[Name]['schema']> }

/** Null unless DELIVERY=direct. */
export function directSettings(v: Read<typeof DELIVERY_SETTINGS>, faults: string[]): DirectSettings | null {
  if (v.DELIVERY !== 'direct') return null
  if (v.DANE && !('resolveTlsa' in dns))
    faults.push(`DANE: Node ${process.versions.node} cannot ask for TLSA records; it takes 22.15 or later`)
  return {
    mtaSts: v.MTA_STS,
    dane: v.DANE,
    dnsServers: v.DNS_SERVERS,
    bindAddresses: v.SOURCE_ADDRESSES,
    port: v.MX_PORT,
    allowPrivateMx: v.MX_MAY_BE_LOCAL,
  }
}

const DEFAULT_LOWEST_RATE = parseRate(THROTTLE_SETTINGS.LOWEST_RATE.default)
/** In effect no rate limit, messages a second. */
const NO_RATE = 10_000

/** @param presetRate the documented rate of RELAY_PRESET, if it has one. */
export function throttleSettings(v: Read<typeof THROTTLE_SETTINGS>, presetRate: number | undefined, faults: string[]): ThrottleSettings {
  // a HIGHEST_RATE below the default of LOWEST_RATE sets both
  if (v.LOWEST_RATE > v.HIGHEST_RATE && v.LOWEST_RATE !== DEFAULT_LOWEST_RATE)
    faults.push(`LOWEST_RATE=${formatRate(v.LOWEST_RATE)}: it is higher than HIGHEST_RATE=${formatRate(v.HIGHEST_RATE)}`)
  const relayRate = v.RELAY_RATE ?? presetRate ?? NO_RATE
  return {
    limits: {
      minMessageRate: Math.min(v.LOWEST_RATE, v.HIGHEST_RATE),
      maxMessageRate: v.HIGHEST_RATE,
      connections: v.HIGHEST_CONNECTIONS,
      maxDeliveriesPerConnection: v.MESSAGES_PER_CONNECTION,
    },
    failuresBeforeDown: v.DOWN_AFTER,
    probeIntervalMs: v.ASK_WHILE_DOWN_EVERY,
    maxQueueDelayMs: v.LONGEST_WAIT,
    groups: v.DESTINATIONS,
    destinationLimits: v.LIMITS,
    relay: {
      minMessageRate: relayRate,
      maxMessageRate: relayRate,
      connections: v.RELAY_CONNECTIONS,
      maxDeliveriesPerConnection: v.MESSAGES_PER_CONNECTION,
    },
    releaseOnRecovery: v.RELEASE_ON_RECOVERY,
    releaseWithinMs: v.RELEASE_WITHIN,
    restoreWithinMs: v.RESTORE_WITHIN,
  }
}
