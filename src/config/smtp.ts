/** Settings of SMTP sessions, the relay, static routes, and DKIM. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { DkimKey, SmtpTimeouts } from '../delivery/index.js'
import { type NextHop, type NextHops, parseRoutes } from '../delivery/next-hop.js'
import { flag, isLoopback, names, parsed, parseRelayUrl, smtpTimeout } from './parsers.js'
import type { Values } from './setting.js'

export const RELAY_SETTINGS = {
  RELAY_URL: {
    default: '',
    doc: 'The relay (smarthost) that retries go through: `smtp://user:password@host:587`, or `smtps://` for TLS from the first byte.',
    schema: parsed((text) => (text === '' ? null : parseRelayUrl(text))),
    secret: true,
  },
  RELAY_TLS: {
    default: '',
    doc: 'TLS towards the relay: `verify`, `opportunistic` or `off`. Default: `verify` where `RELAY_URL` has a password, else `opportunistic`. A password is sent without verified TLS only to this machine itself.',
    schema: z.enum(['', 'verify', 'opportunistic', 'off'], { error: 'it must be verify, opportunistic or off' }),
  },
  RELAY_CA_FILE: {
    default: '',
    doc: 'File with the PEM certificates of a private CA that signed the relay’s certificate.',
    schema: parsed((text) => (text === '' ? null : readFileSync(text, 'utf8'))),
  },
  RELAY_IS_TRANSPARENT: {
    default: 'false',
    doc: 'The relay passes the receiving system’s replies through, and answers only when that system has: its replies then count as the receiving system’s own.',
    schema: flag,
  },
  ROUTES: {
    default: '',
    doc: 'Destinations whose mail goes straight to a host, which is taken as the receiving system itself: `example.org=127.0.0.1:2526, *=mx.example.net`. `*` stands for every other destination.',
    schema: parsed(parseRoutes),
  },
  BACKUP_RELAY_URL: {
    default: '',
    doc: 'A second relay, for messages that say `urgent: { "via": "backup-relay" }`: each goes by it once, at once, beside its retries. A password is sent over verified TLS only.',
    schema: parsed((text) => (text === '' ? null : parseRelayUrl(text))),
    secret: true,
  },
  BACKUP_RELAY_CA_FILE: {
    default: '',
    doc: 'File with the PEM certificates of a private CA that signed the backup relay’s certificate.',
    schema: parsed((text) => (text === '' ? null : readFileSync(text, 'utf8'))),
  },
  BACKUP_ROUTES: {
    default: '',
    doc: 'The same for single destinations, straight to a host that is taken as the receiving system: `example.org=mx2.example.org`.',
    schema: parsed(parseRoutes),
  },
} as const

export const DKIM_SETTINGS = {
  DKIM_DOMAIN: {
    default: '',
    doc: 'Where mail goes directly or by a route, messages from this domain are signed with DKIM for it; `DKIM_SELECTOR` and `DKIM_KEY_FILE` belong to it.',
    schema: names,
  },
  DKIM_SELECTOR: { default: '', doc: 'The selector of the DKIM key.', schema: z.string() },
  DKIM_KEY_FILE: {
    default: '',
    doc: 'File with the private DKIM key, PEM.',
    schema: parsed((text) => (text === '' ? null : readFileSync(text, 'utf8'))),
  },
} as const

export const SMTP_SETTINGS = {
  EHLO_NAME: {
    default: '',
    doc: 'The name that we give in EHLO. Default: this machine’s name.',
    schema: parsed((text) => {
      if (text === '') return hostname()
      if (!/^[A-Za-z0-9.:[\]_-]{1,255}$/.test(text)) throw new Error('it must be a host name or an address literal')
      return text
    }),
  },
  SMTP_CONNECT_TIMEOUT: { default: '2m', doc: 'Time to connect.', schema: smtpTimeout },
  SMTP_BANNER_TIMEOUT: { default: '5m', doc: 'Time to wait for the banner (RFC 5321 4.5.3.2.1).', schema: smtpTimeout },
  SMTP_GREETING_TIMEOUT: { default: '5m', doc: 'Time to wait for the reply to EHLO, STARTTLS and AUTH, each.', schema: smtpTimeout },
  SMTP_MAIL_TIMEOUT: { default: '5m', doc: 'Time to wait for the reply to MAIL (4.5.3.2.2).', schema: smtpTimeout },
  SMTP_RCPT_TIMEOUT: { default: '5m', doc: 'Time to wait for the reply to RCPT (4.5.3.2.3).', schema: smtpTimeout },
  SMTP_DATA_TIMEOUT: { default: '2m', doc: 'Time to wait for the reply to DATA (4.5.3.2.4).', schema: smtpTimeout },
  SMTP_BLOCK_TIMEOUT: { default: '3m', doc: 'Time for each 64 KiB of the message to be taken (4.5.3.2.5).', schema: smtpTimeout },
  SMTP_FINAL_DOT_TIMEOUT: { default: '10m', doc: 'Time to wait for the reply to the message itself (4.5.3.2.6).', schema: smtpTimeout },
} as const

export function smtpTimeouts(v: Values<typeof SMTP_SETTINGS>): SmtpTimeouts {
  return {
    connectMs: v.SMTP_CONNECT_TIMEOUT,
    bannerMs: v.SMTP_BANNER_TIMEOUT,
    greetingMs: v.SMTP_GREETING_TIMEOUT,
    mailMs: v.SMTP_MAIL_TIMEOUT,
    rcptMs: v.SMTP_RCPT_TIMEOUT,
    dataMs: v.SMTP_DATA_TIMEOUT,
    blockMs: v.SMTP_BLOCK_TIMEOUT,
    finalDotMs: v.SMTP_FINAL_DOT_TIMEOUT,
  }
}

/** Adds what is wrong to `faults`. */
export function relayPath(v: Values<typeof RELAY_SETTINGS>, faults: string[]): NextHop | null {
  const path = pathOf(v.RELAY_URL, v.RELAY_TLS, v.RELAY_CA_FILE, v.RELAY_IS_TRANSPARENT ? 'transparent' : 'relay')
  if (path?.credentials !== undefined && path.tls !== 'verify' && path.tls !== 'implicit' && !isLoopback(path.host))
    faults.push(
      `RELAY_TLS=${path.tls}: RELAY_URL has a password, which is sent only over verified TLS (set RELAY_CA_FILE for a private CA)`,
    )
  return path
}

/** The backup relay and backup routes, for urgent messages. */
export function backupPaths(v: Values<typeof RELAY_SETTINGS>): NextHops {
  return { routes: v.BACKUP_ROUTES, relay: pathOf(v.BACKUP_RELAY_URL, '', v.BACKUP_RELAY_CA_FILE, 'relay') }
}

function pathOf(
  url: ReturnType<typeof parseRelayUrl> | null,
  set: '' | 'verify' | 'opportunistic' | 'off',
  ca: string | null,
  kind: NextHop['kind'],
): NextHop | null {
  if (url === null) return null
  const { implicitTls, ...relay } = url
  const asked = set === '' ? (relay.credentials === undefined ? 'opportunistic' : 'verify') : set
  return { kind, ...relay, tls: implicitTls ? 'implicit' : asked, ...(ca === null ? {} : { ca }) }
}

/** Adds what is wrong to `faults`. */
export function dkimKey(v: Values<typeof DKIM_SETTINGS>, faults: string[]): DkimKey | null {
  const [domain, more] = v.DKIM_DOMAIN
  const given = [domain !== undefined, v.DKIM_SELECTOR !== '', v.DKIM_KEY_FILE !== null]
  if (!given.includes(true)) return null
  if (given.includes(false) || more !== undefined) {
    faults.push('DKIM_DOMAIN: one domain, DKIM_SELECTOR and DKIM_KEY_FILE go together')
    return null
  }
  return { domain: domain as string, selector: v.DKIM_SELECTOR, privateKey: v.DKIM_KEY_FILE as string }
}
