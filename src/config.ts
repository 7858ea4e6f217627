/** Every setting, from the environment (and `.env`), checked once at start: all faults at once, each in one line. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { parse as parseDotenv } from 'dotenv'
import { z } from 'zod'
import {
  DEFAULT_RETRY_STATUSES,
  DEFAULT_SCHEDULE,
  EVENT_TYPES,
  type EventType,
  maxStaggerMs,
  parseDuration,
  parseRetryStatuses,
  parseSchedule,
  parseUrgentRules,
  type UrgentRule,
} from './bounce/index.js'
import {
  DELIVERY_SETTINGS,
  type DirectSettings,
  directSettings,
  type PolitenessSettings,
  politenessSettings,
  TURN_SETTINGS,
} from './politeness-settings.js'
import {
  DAY,
  duration,
  flag,
  HOUR,
  integer,
  type Listen,
  names,
  parsed,
  parseKeys,
  parseListen,
  parseRelayUrl,
  SECOND,
  smtpTimeout,
} from './setting-parsers.js'
import { type DkimKey, type Path, parseReturnPathTemplate, parseRoutes, type ReturnPaths, type SmtpTimeouts } from './smtp/index.js'
import { databaseKind } from './store/index.js'

/** A setting: its default, how it is read, what it is for. docs/settings.md is made of this. */
interface Setting {
  readonly default: string
  readonly doc: string
  readonly schema: z.ZodType<unknown, string>
  readonly secret?: boolean
}

/** The settings, in the order of docs/settings.md. */
export const SETTINGS = {
  DATABASE_URL: {
    default: 'file:softbounce.db',
    doc: 'Where suppressions, attempts and kept messages live: `file:PATH` (SQLite) or `postgres://user:password@host/name`.',
    schema: parsed((text) => {
      if (databaseKind(text) === null) throw new Error('it must be file:PATH (SQLite) or postgres://… (PostgreSQL)')
      return text
    }),
    secret: true,
  },
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
  ...DELIVERY_SETTINGS,
  OWN_SYSTEMS: {
    default: '',
    doc: 'Hosts that are ours (`*.example.com` for all below a domain; addresses and networks such as `10.0.0.0/8` for the steps of a trusted intake): a bounce that names one of them as remote MTA blames no destination.',
    schema: names,
  },
  RETRY_SCHEDULE: {
    default: DEFAULT_SCHEDULE.join(', '),
    doc: 'The delays: the first counts from the bounce, each other from the retry before. `4h*2` stands for the same delay twice; at most 20, each from 1 s to 30 d.',
    schema: parsed((text) => parseSchedule(text)),
  },
  RETRY_STATUSES: {
    default: DEFAULT_RETRY_STATUSES,
    doc: 'Which statuses are retried, such as `4.3.2,4.4.*`. Replies that mean 4.3.2 without saying it (421, 453, known texts) count as 4.3.2.',
    schema: parsed(parseRetryStatuses),
  },
  ...TURN_SETTINGS,
  CONFIRM_WITHIN: {
    default: '5d',
    doc: 'How long a message that a relay took may still come back: the relay’s queue lifetime. Silence until then ends as delivered, unconfirmed.',
    schema: duration(SECOND, 60 * DAY),
  },
  SUPPRESSION_STEPS: {
    default: '1d, 3d, 7d, 30d',
    doc: 'How long an address is suppressed for unavailability: the first time, and each time that a new outage follows within 90 days.',
    schema: parsed((text) => text.split(',').map((step) => parseDuration(step))),
  },
  KEEP_MESSAGES_FOR: {
    default: '10d',
    doc: 'How long a message is kept after it was last used. One that a retry still needs is never deleted.',
    schema: duration(HOUR, 3650 * DAY),
  },
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
  RETURN_PATH: {
    default: 'bounce+{token}@{domain}',
    doc: 'The signed return path that tracked messages and retries get, where `RETURN_PATH_KEYS` is set: `{token}` stands for the signature, `{domain}` for the sender’s domain. Mail to it must reach `softbounce intake` or `softbounce take`.',
    schema: parsed(parseReturnPathTemplate),
  },
  RETURN_PATH_KEYS: {
    default: '',
    doc: 'The keys that sign return paths, separated by commas: base64 of at least 16 bytes each (`openssl rand -base64 32`). The first signs, all of them verify: a new key goes in front, an old one goes when its return paths have run out.',
    schema: parsed(parseKeys),
    secret: true,
  },
  INTAKE_LISTEN: {
    default: '',
    doc: 'Where `softbounce intake` listens for LMTP: `127.0.0.1:2003`, or `unix:/run/softbounce/lmtp.sock`.',
    schema: parsed(parseListen),
  },
  INTAKE_IS_TRUSTED: {
    default: 'false',
    doc: 'The intake gets its mail from our own mail system alone: notifications that a host in `OWN_SYSTEMS` made itself are believed without a signed return path.',
    schema: flag,
  },
  INTAKE_MAX_SIZE: {
    default: '32',
    doc: 'Largest mail that the intake takes, in MiB.',
    schema: integer(1, 50),
  },
  INTAKE_MAX_CONNECTIONS: {
    default: '10',
    doc: 'Most LMTP connections at once; whoever comes beyond them is asked to come later (421).',
    schema: integer(1, 1000),
  },
  WEBHOOK_URL: {
    default: '',
    doc: 'A Standard Webhooks endpoint that is told events, with what and whom, never the body: `bounce.retrying` at the start of an urgent message’s retries, and those of `WEBHOOK_EVENTS`.',
    schema: parsed((text) => {
      if (text !== '' && !(URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)))
        throw new Error('it must be an http or https URL')
      if (text !== '' && (new URL(text).username !== '' || new URL(text).password !== ''))
        throw new Error('it may not hold a user or password; the signature proves who calls')
      return text
    }),
    secret: true,
  },
  WEBHOOK_SECRET: {
    default: '',
    doc: 'The secret that webhooks are signed with: `whsec_` and base64.',
    schema: parsed((text) => {
      if (text !== '' && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(text))
        throw new Error('it must be whsec_ and base64 of at least 12 bytes')
      return text
    }),
    secret: true,
  },
  WEBHOOK_EVENTS: {
    default: '',
    doc: `Events that are told of every message and receiving system, urgent or not: any of ${EVENT_TYPES.map((type) => `\`${type}\``).join(', ')}.`,
    schema: parsed((text) =>
      text
        .split(/[\s,]+/)
        .filter((type) => type !== '')
        .map((type) => {
          const known = EVENT_TYPES.find((one) => one === type)
          if (known === undefined) throw new Error(`"${type}" is no event; there are ${EVENT_TYPES.join(', ')}`)
          return known
        }),
    ),
  },
  URGENT: {
    default: '',
    doc: 'Which messages are urgent beside those that say so: `header X-Priority: 1; sender *@billing.example; recipient *@vip.example`. `*` stands for anything.',
    schema: parsed(parseUrgentRules),
  },
  ALTERNATIVE_TASK_QUEUE: {
    default: '',
    doc: 'The Temporal task queue of a worker of your own, in any SDK, whose activity `notifyAlternative` gets the same events as the webhook.',
    schema: z.string().max(200),
  },
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
  MAX_CONCURRENT_SENDS: { default: '100', doc: 'Most SMTP transactions that one worker has open at once.', schema: integer(1, 10_000) },
  SHUTDOWN_GRACE: {
    default: '25s',
    doc: 'How long a worker that is told to stop lets transactions under way finish; those still open then are stopped where that is safe, and taken up by another worker.',
    schema: duration(0, HOUR),
  },
  HTTP_PORT: {
    default: '',
    doc: 'Port of the pages `/healthz`, `/metrics` and `/metrics/temporal` (those of Temporal’s SDK) of a worker, or of the intake; none when left out. A worker and an intake on one machine need one each.',
    schema: parsed((text) => {
      if (text === '') return null
      const port = Number(text)
      if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new Error('it must be a port number')
      return port
    }),
  },
  HTTP_HOST: {
    default: '127.0.0.1',
    doc: 'Address that these pages are served on. They ask for no password: keep them to yourselves.',
    schema: z.string().min(1),
  },
  LOG_LEVEL: {
    default: 'info',
    doc: '`debug`, `info`, `warn` or `error`.',
    schema: z.enum(['debug', 'info', 'warn', 'error'], { error: 'it must be debug, info, warn or error' }),
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

type Values = { [Name in SettingName]: z.infer<(typeof SETTINGS)[Name]['schema']> }

/** The settings as the program uses them. */
export interface Settings {
  readonly databaseUrl: string
  readonly paths: { readonly routes: Values['ROUTES']; readonly relay: Path | null }
  /** Null: what has no route goes by the relay. */
  readonly direct: DirectSettings | null
  readonly politeness: PolitenessSettings
  readonly ownSystems: readonly string[]
  readonly scheduleMs: readonly number[]
  readonly retryStatuses: Values['RETRY_STATUSES']
  readonly confirmWithinMs: number
  readonly suppressionStepsMs: readonly number[]
  readonly keepMessagesForMs: number
  /** Signs what goes by a route, where the author's domain is this one. */
  readonly dkim: DkimKey | null
  /** Null where no key is set: then nothing is signed, and no return path is believed. */
  readonly returnPaths: ReturnPaths | null
  readonly intake: {
    readonly listen: Listen | null
    readonly isTrusted: boolean
    readonly maxBytes: number
    readonly maxConnections: number
  }
  readonly events: {
    readonly webhook: { readonly url: string; readonly secret: string } | null
    readonly taskQueue: string | null
    /** Told of everything. */
    readonly types: readonly EventType[]
    readonly urgent: readonly UrgentRule[]
  }
  readonly ehloName: string
  readonly timeouts: SmtpTimeouts
  readonly maxConcurrentSends: number
  readonly shutdownGraceMs: number
  readonly httpPort: number | null
  readonly httpHost: string
  readonly logLevel: Values['LOG_LEVEL']
}

/** Settings that are wrong: every fault, one a line. */
export class WrongSettings extends Error {
  override name = 'WrongSettings'
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'))
  }
}

/** Where a setting's value came from. */
export type Source = 'environment' | '.env' | 'default'

/** A setting as `softbounce config` shows it; secrets are masked. */
export interface ShownSetting {
  readonly name: SettingName
  readonly value: string
  readonly source: Source
}

type Environment = Readonly<Record<string, string | undefined>>

/** The values of `.env` in the working directory; none where it is not there. */
export function readDotenv(path = '.env'): Environment {
  try {
    return parseDotenv(readFileSync(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new WrongSettings([`${path} could not be read: ${(error as Error).message}`])
  }
}

/** The environment for Temporal's own settings: what `.env` says of them holds where the environment says nothing. */
export function temporalEnvironment(environment: Environment = process.env, dotenv: Environment = readDotenv()): Record<string, string> {
  const all = { ...Object.fromEntries(Object.entries(dotenv).filter(([name]) => name.startsWith('TEMPORAL_'))), ...environment }
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined))
}

function lookUp(name: SettingName, environment: Environment, dotenv: Environment): { text: string; source: Source } {
  const set = environment[name]
  if (set !== undefined && set !== '') return { text: set, source: 'environment' }
  // set to nothing: whatever .env says is taken back
  if (set === '') return { text: SETTINGS[name].default, source: 'default' }
  const file = dotenv[name]
  if (file !== undefined && file !== '') return { text: file, source: '.env' }
  return { text: SETTINGS[name].default, source: 'default' }
}

/** A secret as it may be shown: of a URL its kind and host, of anything else nothing. */
function mask(text: string): string {
  if (text === '' || /^file:/.test(text)) return text
  if (!URL.canParse(text)) return '***'
  const { protocol, username, host, pathname, search } = new URL(text)
  const user = username === '' ? '' : `${username}:***@`
  // a path or a query may hold a token
  const database = /^postgres(ql)?:$/.test(protocol) ? pathname : pathname.length > 1 ? '/***' : ''
  return `${protocol}//${user}${host}${database}${search === '' ? '' : '?***'}`
}

/** Every setting, its value and where it came from. */
export function showSettings(environment: Environment = process.env, dotenv: Environment = readDotenv()): ShownSetting[] {
  return (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const { text, source } = lookUp(name, environment, dotenv)
    return { name, value: 'secret' in SETTINGS[name] ? mask(text) : text, source }
  })
}

/**
 * Reads and checks the settings.
 * @throws WrongSettings with every fault.
 */
export function readSettings(environment: Environment = process.env, dotenv: Environment = readDotenv()): Settings {
  const faults: string[] = []
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { text, source } = lookUp(name, environment, dotenv)
    const result = (SETTINGS[name].schema as z.ZodType).safeParse(text)
    if (result.success) values[name] = result.data
    else {
      const shown = 'secret' in SETTINGS[name] ? mask(text) : text
      for (const issue of result.error.issues) faults.push(`${name}="${shown}" (${source}): ${issue.message}`)
    }
  }
  if (faults.length > 0) throw new WrongSettings(faults)
  const v = values as Values
  const relay = relayPath(v, faults)
  const dkim = dkimKey(v, faults)
  if ((v.WEBHOOK_URL === '') !== (v.WEBHOOK_SECRET === ''))
    faults.push('WEBHOOK_URL: it goes with WEBHOOK_SECRET, and neither without the other')
  const politeness = politenessSettings(v, faults)
  const direct = directSettings(v, faults)
  if (direct !== null && relay !== null)
    faults.push('DELIVERY=direct: RELAY_URL is set too; leave one of them out (ROUTES may name single destinations)')
  if (faults.length > 0) throw new WrongSettings(faults)
  return {
    databaseUrl: v.DATABASE_URL,
    paths: { routes: v.ROUTES, relay },
    direct,
    politeness,
    ownSystems: v.OWN_SYSTEMS,
    scheduleMs: v.RETRY_SCHEDULE,
    retryStatuses: v.RETRY_STATUSES,
    confirmWithinMs: v.CONFIRM_WITHIN,
    suppressionStepsMs: v.SUPPRESSION_STEPS,
    keepMessagesForMs: v.KEEP_MESSAGES_FOR,
    dkim,
    returnPaths: v.RETURN_PATH_KEYS.length === 0 ? null : { template: v.RETURN_PATH, keys: v.RETURN_PATH_KEYS, validDays: validDays(v) },
    intake: {
      listen: v.INTAKE_LISTEN,
      isTrusted: v.INTAKE_IS_TRUSTED,
      maxBytes: v.INTAKE_MAX_SIZE * 1024 * 1024,
      maxConnections: v.INTAKE_MAX_CONNECTIONS,
    },
    events: {
      webhook: v.WEBHOOK_URL === '' ? null : { url: v.WEBHOOK_URL, secret: v.WEBHOOK_SECRET },
      taskQueue: v.ALTERNATIVE_TASK_QUEUE === '' ? null : v.ALTERNATIVE_TASK_QUEUE,
      types: v.WEBHOOK_EVENTS,
      urgent: v.URGENT,
    },
    ehloName: v.EHLO_NAME,
    timeouts: {
      connectMs: v.SMTP_CONNECT_TIMEOUT,
      bannerMs: v.SMTP_BANNER_TIMEOUT,
      greetingMs: v.SMTP_GREETING_TIMEOUT,
      mailMs: v.SMTP_MAIL_TIMEOUT,
      rcptMs: v.SMTP_RCPT_TIMEOUT,
      dataMs: v.SMTP_DATA_TIMEOUT,
      blockMs: v.SMTP_BLOCK_TIMEOUT,
      finalDotMs: v.SMTP_FINAL_DOT_TIMEOUT,
    },
    maxConcurrentSends: v.MAX_CONCURRENT_SENDS,
    shutdownGraceMs: v.SHUTDOWN_GRACE,
    httpPort: v.HTTP_PORT,
    httpHost: v.HTTP_HOST,
    logLevel: v.LOG_LEVEL,
  }
}

function relayPath(v: Values, faults: string[]): Path | null {
  if (v.RELAY_URL === null) return null
  const { implicitTls, ...relay } = v.RELAY_URL
  const asked = v.RELAY_TLS === '' ? (relay.credentials === undefined ? 'opportunistic' : 'verify') : v.RELAY_TLS
  const tls = implicitTls ? 'implicit' : asked
  const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(relay.host)
  if (relay.credentials !== undefined && tls !== 'verify' && tls !== 'implicit' && !loopback)
    faults.push(`RELAY_TLS=${tls}: RELAY_URL has a password, which is sent only over verified TLS (set RELAY_CA_FILE for a private CA)`)
  return {
    kind: v.RELAY_IS_TRANSPARENT ? 'transparent' : 'relay',
    ...relay,
    tls,
    ...(v.RELAY_CA_FILE === null ? {} : { ca: v.RELAY_CA_FILE }),
  }
}

/** How long a bounce may come for a return path: the whole schedule, and a relay's queue time for the message and each retry. */
function validDays(v: Values): number {
  const ms = v.RETRY_SCHEDULE.reduce((sum, delayMs) => sum + delayMs + maxStaggerMs(delayMs) + v.CONFIRM_WITHIN, v.CONFIRM_WITHIN)
  return Math.ceil(ms / DAY) + 1
}

function dkimKey(v: Values, faults: string[]): DkimKey | null {
  const [domain, more] = v.DKIM_DOMAIN
  const given = [domain !== undefined, v.DKIM_SELECTOR !== '', v.DKIM_KEY_FILE !== null]
  if (!given.includes(true)) return null
  if (given.includes(false) || more !== undefined) {
    faults.push('DKIM_DOMAIN: one domain, DKIM_SELECTOR and DKIM_KEY_FILE go together')
    return null
  }
  return { domain: domain as string, selector: v.DKIM_SELECTOR, privateKey: v.DKIM_KEY_FILE as string }
}

/** What a worker cannot do without: a way to send. */
export function requirePath({ paths, direct }: Settings): void {
  if (paths.relay === null && paths.routes.length === 0 && direct === null)
    throw new WrongSettings([
      'RELAY_URL: neither RELAY_URL nor ROUTES nor DELIVERY=direct is set, so that nothing can be sent; set RELAY_URL=smtp://your-relay:25',
    ])
}
