/** All settings: their schema in sections, and how they are read, shown and checked. */
import type { WorkerDeploymentVersion } from '@temporalio/common'
import { z } from 'zod'
import { DEFAULT_RETRY_STATUSES, DEFAULT_SCHEDULE, parseDuration, parseRetryStatuses, parseSchedule } from '../bounce/index.js'
import type { DirectSettings, DkimKey, NextHops, ReturnPaths, SmtpTimeouts } from '../delivery/index.js'
import type { Provider, ProviderApi, ProviderSecrets } from '../providers/index.js'
import { databaseKind } from '../store/database-kind.js'
import type { ThrottleSettings } from '../throttle/index.js'
import { ENCRYPTION_SETTINGS, type EncryptionSettings, encryptionSettings } from './encryption.js'
import { EVENT_SETTINGS, type EventSettings, eventSettings } from './events.js'
import { IMAP_SETTINGS, type ImapSettings, imapSettings } from './imap.js'
import { BOUNCE_SETTINGS, type IntakeSettings, intakeSettings, returnPaths } from './intake.js'
import { DAY, duration, HOUR, integer, isLoopback, names, parsed, SECOND } from './parsers.js'
import { PRESET_RATES, PROVIDER_SETTINGS, providerSecrets, unlistBy } from './providers.js'
import type { Setting, Values as ValuesOf } from './setting.js'
import { backupPaths, DKIM_SETTINGS, dkimKey, RELAY_SETTINGS, relayPath, SMTP_SETTINGS, smtpTimeouts } from './smtp.js'
import { type Environment, readDotenv, type Source } from './sources.js'
import { DELIVERY_SETTINGS, directSettings, THROTTLE_SETTINGS, throttleSettings } from './throttle.js'
import { WrongSettings } from './wrong-settings.js'

const versionPart = parsed((text) => {
  // Temporal joins deployment name and build ID with a dot or a colon
  if (!/^[A-Za-z0-9_./-]{0,200}$/.test(text)) throw new Error('it must be letters, digits, ., _, / and -')
  return text
})

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
  ...RELAY_SETTINGS,
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
  ...THROTTLE_SETTINGS,
  CONFIRM_WITHIN: {
    default: '6d',
    doc: 'How long to wait for a report after a relay accepted a message. It must be longer than the relay’s queue lifetime: a stock mail server gives up after 5 d and up to an hour more, and only then returns the message. Silence until then ends as delivered, unconfirmed.',
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
  ...DKIM_SETTINGS,
  ...BOUNCE_SETTINGS,
  ...IMAP_SETTINGS,
  ...PROVIDER_SETTINGS,
  ...EVENT_SETTINGS,
  ...ENCRYPTION_SETTINGS,
  ...SMTP_SETTINGS,
  MAX_CONCURRENT_SENDS: { default: '100', doc: 'Most SMTP transactions that one worker has open at once.', schema: integer(1, 10_000) },
  SHUTDOWN_GRACE: {
    default: '25s',
    doc: 'How long a stopping worker lets running transactions finish. Those still open then are stopped if that is safe, and another worker continues.',
    schema: duration(0, HOUR),
  },
  TEMPORAL_DEPLOYMENT_NAME: {
    default: '',
    doc: 'Turns Temporal’s worker versioning on: the name of the worker deployment; `TEMPORAL_WORKER_BUILD_ID` belongs to it. Both are set by Temporal’s worker controller for Kubernetes ([upgrading](operations.md#upgrading)).',
    schema: versionPart,
  },
  TEMPORAL_WORKER_BUILD_ID: {
    default: '',
    doc: 'The build of this worker within its deployment, such as `0.5.0`. A worker gets work when its build is the deployment’s current one, or ramping.',
    schema: versionPart,
  },
  HTTP_PORT: {
    default: '',
    doc: 'Port of the pages `/healthz`, `/metrics` and `/metrics/temporal` (those of Temporal’s SDK) of a worker, or of the intake, which takes `/notifications/PROVIDER` there too; none when left out. A worker and an intake on one machine need one each.',
    schema: parsed((text) => {
      if (text === '') return null
      const port = Number(text)
      if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new Error('it must be a port number')
      return port
    }),
  },
  HTTP_HOST: {
    default: '127.0.0.1',
    doc: 'Address that these pages are served on. Beyond this machine only with `HTTP_TOKEN`.',
    schema: z.string().min(1),
  },
  HTTP_TOKEN: {
    default: '',
    doc: 'What `/metrics` and `/metrics/temporal` want as `Authorization: Bearer TOKEN` (Prometheus: `authorization`). `/healthz` says only whether it works, and notifications prove themselves.',
    schema: parsed((text) => {
      if (text !== '' && !/^[A-Za-z0-9_-]{16,200}$/.test(text))
        throw new Error('it must be at least 16 letters, digits, - and _ (openssl rand -hex 24)')
      return text === '' ? null : text
    }),
    secret: true,
  },
  LOG_LEVEL: {
    default: 'info',
    doc: '`debug`, `info`, `warn` or `error`.',
    schema: z.enum(['debug', 'info', 'warn', 'error'], { error: 'it must be debug, info, warn or error' }),
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

type Values = ValuesOf<typeof SETTINGS>

/** The settings as the program uses them. */
export interface Settings {
  readonly databaseUrl: string
  readonly paths: NextHops
  /** The next hops for messages that request the backup relay. */
  readonly backup: NextHops
  /** Null: destinations without a route go through the relay. */
  readonly direct: DirectSettings | null
  readonly throttle: ThrottleSettings
  readonly ownHosts: readonly string[]
  readonly scheduleMs: readonly number[]
  readonly retryStatuses: Values['RETRY_STATUSES']
  readonly confirmWithinMs: number
  readonly suppressionStepsMs: readonly number[]
  readonly messageRetentionMs: number
  /** Signs messages sent directly or by a route, if the author's domain is the key's. */
  readonly dkim: DkimKey | null
  /** Null if no key is set: then nothing is signed, and no return path is authenticated. */
  readonly returnPaths: ReturnPaths | null
  readonly intake: IntakeSettings
  readonly mailbox: ImapSettings | null
  /** The provider behind the relay (RELAY_PRESET); null if none is set. */
  readonly relayPreset: Provider | null
  /** Secrets of the providers whose webhooks are accepted. */
  readonly providers: ProviderSecrets
  /** The API that removes addresses from the provider's suppression list; null if off. */
  readonly unlistBy: ProviderApi | null
  readonly events: EventSettings
  readonly encryption: EncryptionSettings
  readonly ehloDomain: string
  readonly timeouts: SmtpTimeouts
  readonly maxConcurrentSends: number
  readonly shutdownGraceMs: number
  /** The worker's deployment version; null: worker versioning is off. */
  readonly deploymentVersion: WorkerDeploymentVersion | null
  readonly httpPort: number | null
  readonly httpHost: string
  /** The bearer token for the metrics; null is allowed on loopback only. */
  readonly httpToken: string | null
  readonly logLevel: Values['LOG_LEVEL']
}

/** A setting as `softbounce config` shows it; secrets are masked. */
export interface ShownSetting {
  readonly name: SettingName
  readonly value: string
  readonly source: Source
}

function lookUp(name: SettingName, environment: Environment, dotenv: Environment): { text: string; source: Source } {
  const set = environment[name]
  if (set !== undefined && set !== '') return { text: set, source: 'environment' }
  // set but empty: overrides .env, and restores the default
  if (set === '') return { text: SETTINGS[name].default, source: 'default' }
  const file = dotenv[name]
  if (file !== undefined && file !== '') return { text: file, source: '.env' }
  return { text: SETTINGS[name].default, source: 'default' }
}

/** Masks a secret: of a URL, scheme, user, host and database name stay visible; a `file:` URL whole; of anything else, nothing. */
function mask(text: string): string {
  if (text === '' || /^file:/.test(text)) return text
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || !URL.canParse(text)) return '***'
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
  const backup = backupPaths(v)
  const dkim = dkimKey(v, faults)
  const events = eventSettings(v, faults)
  const encryption = encryptionSettings(v, faults)
  if (v.HTTP_PORT !== null && v.HTTP_TOKEN === null && !isLoopback(v.HTTP_HOST))
    faults.push(`HTTP_HOST=${v.HTTP_HOST}: others can reach this address, so that HTTP_TOKEN must be set`)
  const deploymentVersion = deploymentVersionOf(v, faults)
  const mailbox = imapSettings(v, faults)
  const unlisting = unlistBy(v, faults)
  const throttle = throttleSettings(v, v.RELAY_PRESET === null ? undefined : PRESET_RATES[v.RELAY_PRESET], faults)
  const direct = directSettings(v, faults)
  if (direct !== null && relay !== null)
    faults.push('DELIVERY=direct: RELAY_URL is set too; leave one of them out (ROUTES may name single destinations)')
  if (faults.length > 0) throw new WrongSettings(faults)
  return {
    databaseUrl: v.DATABASE_URL,
    paths: { routes: v.ROUTES, relay },
    backup,
    direct,
    throttle,
    ownHosts: v.OWN_SYSTEMS,
    scheduleMs: v.RETRY_SCHEDULE,
    retryStatuses: v.RETRY_STATUSES,
    confirmWithinMs: v.CONFIRM_WITHIN,
    suppressionStepsMs: v.SUPPRESSION_STEPS,
    messageRetentionMs: v.KEEP_MESSAGES_FOR,
    dkim,
    returnPaths: returnPaths(v, v.RETRY_SCHEDULE, v.CONFIRM_WITHIN),
    intake: intakeSettings(v),
    mailbox,
    relayPreset: v.RELAY_PRESET,
    providers: providerSecrets(v),
    unlistBy: unlisting,
    events,
    encryption,
    ehloDomain: v.EHLO_NAME,
    timeouts: smtpTimeouts(v),
    maxConcurrentSends: v.MAX_CONCURRENT_SENDS,
    shutdownGraceMs: v.SHUTDOWN_GRACE,
    deploymentVersion,
    httpPort: v.HTTP_PORT,
    httpHost: v.HTTP_HOST,
    httpToken: v.HTTP_TOKEN,
    logLevel: v.LOG_LEVEL,
  }
}

function deploymentVersionOf(
  { TEMPORAL_DEPLOYMENT_NAME: deploymentName, TEMPORAL_WORKER_BUILD_ID: buildId }: Values,
  faults: string[],
): WorkerDeploymentVersion | null {
  if (deploymentName !== '' && buildId !== '') return { deploymentName, buildId }
  if (deploymentName !== buildId) faults.push('TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID belong together: set both, or neither')
  return null
}

/** @throws WrongSettings if there is no next hop: neither a relay, nor routes, nor direct delivery. */
export function requireNextHop({ paths, direct }: Settings): void {
  if (paths.relay === null && paths.routes.length === 0 && direct === null)
    throw new WrongSettings([
      'RELAY_URL: neither RELAY_URL nor ROUTES nor DELIVERY=direct is set, so that nothing can be sent; set RELAY_URL=smtp://your-relay:25',
    ])
}
