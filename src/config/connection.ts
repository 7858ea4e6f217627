/** Settings of where mail goes and how: the relay, static routes, direct delivery, and SMTP. */
import dns from 'node:dns'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { DirectSettings, DkimKey, SmtpTimeouts } from '../delivery/index.js'
import type { NextHop, NextHops } from '../delivery/next-hop.js'
import { PROVIDERS } from '../providers/index.js'
import { parseRate } from '../throttle/limits.js'
import {
  caselessName,
  DAY,
  duration,
  fileContent,
  flag,
  HOUR,
  integer,
  isLoopback,
  matching,
  names,
  oneOf,
  parsed,
  parseLoginUrl,
  SECOND,
  secret,
  section,
  setting,
} from './field.js'
import type { AddFault } from './wrong-settings.js'

const port = integer(1, 65_535)

const relayUrl = parsed((text) => {
  const url = parseLoginUrl(
    text,
    ['smtp', 'smtps'],
    'it must be smtp://host:port or smtps://host:port, with user:password@ before the host if the relay requires a login',
  )
  if (url.pathname.length > 1 || url.search !== '' || url.hash !== '') throw new Error('nothing may follow the port')
  const implicitTls = url.protocol === 'smtps:'
  const credentials = url.username === '' ? undefined : { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) }
  if (credentials !== undefined && credentials.pass === '') throw new Error('it has a user and no password')
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (implicitTls ? 465 : 25) : Number(url.port),
    implicitTls,
    ...(credentials === undefined ? {} : { credentials }),
  }
})

export const RELAY = section('The relay (smarthost) that retries go through.', {
  url: secret(
    'The relay: `smtp://user:password@host:587` (without a port: 25), or `smtps://` for TLS from the first byte. In user and password, write `@` as `%40`, `/` as `%2F`, `#` as `%23`.',
    relayUrl.optional(),
  ),
  provider: setting(
    'The mail provider behind `relay.url` (and behind a tracked transporter). Its webhooks then name the send that they are about, and its documented rate is the default of `relay.maxMessageRate` ([providers](providers.md)).',
    oneOf(PROVIDERS).optional(),
  ),
  tls: setting(
    'TLS towards the relay. Default: `verify` if `relay.url` has a password, else `opportunistic`. A password is sent without verified TLS only to this machine itself.',
    oneOf(['verify', 'opportunistic', 'off']).optional(),
  ),
  caFile: setting(
    'File with the PEM certificates of the private CA that signed the certificates of relay and backup relay.',
    fileContent.optional(),
  ),
  transparent: setting(
    'Set it if the relay is an SMTP proxy without a queue: it replies only after the receiving system has, with that system’s reply, which then counts. Leave it off for Postfix, Exim and providers.',
    flag.prefault(false),
  ),
  maxMessageRate: setting(
    'The rate at which all workers together contact the relay (a provider’s `14/s`). Default: that of `relay.provider`, else unlimited.',
    parsed(parseRate).optional(),
  ),
  connectionLimit: setting('Maximum connections to the relay at once, of all workers together.', integer(1, 1000).prefault(20)),
  confirmWithin: setting(
    'How long to wait for a report after a relay accepted a message. It must be longer than the relay’s queue lifetime: a stock mail server gives up after 5 d and up to an hour more, and only then returns the message. No retry is sent meanwhile. After silence for this long, the message counts as delivered, unconfirmed.',
    duration(SECOND, 60 * DAY).prefault('6d'),
  ),
  backupUrl: secret(
    'A second relay, for messages with `urgent: { "via": "backup-relay" }`: each goes through it once, at once, beside its retries. A password is sent over verified TLS only.',
    relayUrl.optional(),
  ),
})

const host = matching(/^[^\s:/[\]]+$|^[0-9A-Fa-f:.]+$/, 'a host name or an address')

export const ROUTES = setting(
  'Static routes: destinations whose mail goes straight to a host, which counts as the receiving system itself. A destination is a receiving system, not a recipient’s domain: a name in `throttle.groups`, else the registrable domain of its mail host. `destination: "*"` stands for every one without a route of its own.',
  z
    .array(
      z.strictObject({
        destination: caselessName.meta({ description: 'The destination, or `*` for all.' }),
        host: host.meta({ description: 'Host name or address.' }),
        port: port.prefault(25).meta({ description: 'The port.' }),
      }),
    )
    .prefault([]),
)

/** IP addresses of name servers, each with an optional port. */
const nameServer = parsed((server) => {
  const address = /^\[(.+)\](?::\d{1,5})?$/.exec(server)?.[1] ?? (isIP(server) === 6 ? server : server.replace(/:\d{1,5}$/, ''))
  if (isIP(address) === 0) throw new Error(`"${server}" is not an address such as 192.0.2.53, 127.0.0.1:5353 or [2001:db8::53]:53`)
  return server
})

export const DIRECT = section('Direct delivery, to the MX hosts of the recipient’s domain, instead of a relay.', {
  enabled: setting('Deliver directly. Leave `relay.url` out then; `routes` may still name single destinations.', flag.prefault(false)),
  mtaSts: setting(
    'Follow the MTA-STS policy of the receiving domain (RFC 8461): verified TLS if the policy demands it, and never clear text instead.',
    flag.prefault(true),
  ),
  dane: setting(
    'Check certificates by TLSA records (RFC 7672). It needs name servers that validate DNSSEC, and Node 22.15 or later, which can look these records up.',
    flag.prefault(false),
  ),
  dnsServers: setting(
    'Name servers for direct delivery, such as `192.0.2.53` or `127.0.0.1:5353`. Default: this machine’s.',
    z.array(nameServer).prefault([]),
  ),
  allowPrivateMx: setting(
    'Also connect to mail hosts whose addresses are not public (loopback, private, link-local and the like). Off by default, since a stranger’s domain may name hosts of your own network.',
    flag.prefault(false),
  ),
  port: setting('The port of mail hosts: 25, except for tests.', port.prefault(25)),
  dkim: setting(
    'DKIM keys: messages that are sent directly or by a route are signed if their author’s domain has a key.',
    z
      .array(
        z.strictObject({
          domain: caselessName.meta({ description: 'The domain that is signed for.' }),
          selector: matching(/^[A-Za-z0-9._-]{1,63}$/, 'the name of a selector').meta({ description: 'The selector of the key.' }),
          keyFile: fileContent.meta({ description: 'File with the private key, PEM.' }),
        }),
      )
      .prefault([]),
  ),
})

const timeout = duration(SECOND, HOUR)

export const SMTP = section('SMTP sessions.', {
  ehloDomain: setting(
    'The name in EHLO. Default: this machine’s name.',
    matching(/^[A-Za-z0-9.:[\]_-]{1,255}$/, 'a host name or an address literal').optional(),
  ),
  bindAddresses: setting(
    'Local addresses that direct delivery connects from: one IPv4, one IPv6, or both. With only one, mail hosts of the other family cannot be reached.',
    names
      .refine((all) => all.every((address) => isIP(address) !== 0) && new Set(all.map(isIP)).size === all.length, {
        error: 'it must be one IPv4 address, one IPv6 address, or both',
      })
      .prefault([]),
  ),
  timeouts: section('How long to wait for a server; the defaults are those of RFC 5321 4.5.3.2.', {
    connect: setting('To connect.', timeout.prefault('2m')),
    command: setting('For the banner, and for the reply to EHLO, STARTTLS, AUTH, MAIL and RCPT, each.', timeout.prefault('5m')),
    data: setting('For the reply to DATA, and for each 64 KiB of the message to be accepted.', timeout.prefault('3m')),
    finalDot: setting('For the reply to the message itself.', timeout.prefault('10m')),
  }),
})

export type RelayValues = z.output<typeof RELAY>

export function smtpTimeouts({ connect, command, data, finalDot }: z.output<typeof SMTP>['timeouts']): SmtpTimeouts {
  return {
    connectMs: connect,
    bannerMs: command,
    greetingMs: command,
    mailMs: command,
    rcptMs: command,
    dataMs: data,
    blockMs: data,
    finalDotMs: finalDot,
  }
}

/** The relay and the routes; and the backup relay, null if there is none. */
export function nextHops(
  relay: RelayValues,
  routes: z.output<typeof ROUTES>,
  fault: AddFault,
): { paths: NextHops; backup: NextHop | null } {
  const main = hopOf(relay.url, relay.tls, relay.caFile, relay.transparent ? 'transparent' : 'relay')
  if (main?.credentials !== undefined && main.tls !== 'verify' && main.tls !== 'implicit' && !isLoopback(main.host))
    fault(
      'relay.tls',
      `it is ${main.tls}, but relay.url has a password, which is sent only over verified TLS (set relay.caFile for a private CA)`,
    )
  return { paths: { routes, relay: main }, backup: hopOf(relay.backupUrl, undefined, relay.caFile, 'relay') }
}

function hopOf(url: RelayValues['url'], set: RelayValues['tls'], ca: string | undefined, kind: NextHop['kind']): NextHop | null {
  if (url === undefined) return null
  const { implicitTls, ...relay } = url
  const tls = set ?? (relay.credentials === undefined ? 'opportunistic' : 'verify')
  return { kind, ...relay, tls: implicitTls ? 'implicit' : tls, ...(ca === undefined ? {} : { ca }) }
}

/** Null unless direct delivery is on. */
export function directSettings(direct: z.output<typeof DIRECT>, smtp: z.output<typeof SMTP>, fault: AddFault): DirectSettings | null {
  if (!direct.enabled) return null
  if (direct.dane && !('resolveTlsa' in dns))
    fault('direct.dane', `Node ${process.versions.node} cannot look TLSA records up; it takes 22.15 or later`)
  const { mtaSts, dane, dnsServers, port, allowPrivateMx } = direct
  return { mtaSts, dane, dnsServers, bindAddresses: smtp.bindAddresses, port, allowPrivateMx }
}

export const dkimKeys = ({ dkim }: z.output<typeof DIRECT>): DkimKey[] =>
  dkim.map(({ domain, selector, keyFile }) => ({ domain, selector, privateKey: keyFile }))

export const ehloDomain = (smtp: z.output<typeof SMTP>): string => smtp.ehloDomain ?? hostname()
