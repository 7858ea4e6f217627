/** The one schema of the configuration: `softbounce.yaml`, the environment and the options of the library all have its shape. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { z } from 'zod'
import {
  DEFAULT_RETRY_STATUSES,
  DEFAULT_SCHEDULE,
  parseDuration,
  parseRetryStatuses,
  parseSchedule,
  parseTrialSchedules,
  TASK_QUEUE,
} from '../bounce/index.js'
import { databaseKind } from '../store/database-kind.js'
import { DIRECT, RELAY, ROUTES, SMTP } from './connection.js'
import { ENCRYPTION, HTTP } from './encryption.js'
import { EVENTS } from './events.js'
import {
  DAY,
  duration,
  flag,
  HOUR,
  integer,
  MINUTE,
  matching,
  names,
  oneOf,
  parsed,
  parsedFrom,
  parseLoginUrl,
  secret,
  section,
  setting,
} from './field.js'
import { INTAKE, RETURN_PATH } from './intake.js'
import { THROTTLE } from './limits.js'
import { PROVIDER_SECTION } from './providers.js'

const DATABASE_FORM = 'it must be file:PATH (SQLite) or postgres://user:password@host/name (PostgreSQL)'

const databaseUrl = parsed((text) => {
  const kind = databaseKind(text)
  // a path with :// is two values in one line: opening it would create folders of that name
  if (kind === null || (kind === 'sqlite' && text.includes('://'))) throw new Error(DATABASE_FORM)
  if (kind === 'postgres') parseLoginUrl(text, ['postgres', 'postgresql'], DATABASE_FORM)
  return text
})

/** The user's own SQLite file, the same from every working directory (XDG Base Directory Specification). */
export function defaultDatabaseUrl(environment: NodeJS.ProcessEnv = process.env): string {
  const state = environment.XDG_STATE_HOME ?? ''
  return `file:${join(isAbsolute(state) ? state : join(homedir(), '.local', 'state'), 'softbounce', 'softbounce.db')}`
}

const schemaName = matching(/^[a-z_][a-z0-9_]{0,62}$/, 'lower-case letters, digits and _')
const schedule = parsedFrom(z.array(z.string()), parseSchedule)
const trialSchedules = parsedFrom(z.record(z.string(), z.string()), parseTrialSchedules)
const statuses = parsedFrom(z.array(z.string()), (list) => parseRetryStatuses(list.join(',')))

/** The configuration. */
export const CONFIG = z.strictObject({
  database: section('Where suppressions, attempts and stored messages are kept.', {
    url: secret(
      '`file:PATH` (SQLite) or `postgres://user:password@host/name`, with `?sslmode=verify-full&sslrootcert=FILE` for TLS. A password is percent-encoded. Default: a SQLite file of the user, `softbounce/softbounce.db` in `XDG_STATE_HOME` (`~/.local/state`).',
      databaseUrl.optional(),
    ),
    schema: setting(
      'PostgreSQL: the schema that holds all tables. The database may hold other schemas, such as your application’s.',
      schemaName.prefault('softbounce'),
    ),
    throttleSchema: setting(
      'PostgreSQL: the schema that holds the state of destinations and their open connections, if several fleets share their limits; the same for each of them. Left out: each fleet keeps its own, in `database.schema`.',
      schemaName.optional(),
    ),
  }),
  relay: RELAY,
  routes: ROUTES,
  direct: DIRECT,
  smtp: SMTP,
  ownHosts: setting(
    'Your own mail hosts: names (`*.example.com` for all below a domain), addresses or networks (`10.0.0.0/8`). A bounce whose Remote-MTA is one of them is no evidence about any destination; with `intake.trusted`, bounces that they made are authenticated.',
    names.prefault([]),
  ),
  retry: section('Which bounces are retried, and when.', {
    schedule: setting(
      'The delays: the first counts from the bounce, each other from the previous retry. At most 20, each from 1 s to 30 d.',
      schedule.prefault([...DEFAULT_SCHEDULE]),
    ),
    schedules: setting(
      'Other schedules on trial, each with the share of the messages that get it: `20 %: 30m, 2h, 8h, 24h`. The others get `retry.schedule`. A hash of message and recipient decides, so a message keeps its schedule. `softbounce report` compares them.',
      trialSchedules.prefault({}),
    ),
    statuses: setting(
      'Enhanced status codes that are retried, of class 4: `4.3.2` (system not accepting network messages), `4.4.*`. Other temporary failures are not. Replies that mean 4.3.2 without saying it (421, 453, known texts) count as 4.3.2.',
      statuses.prefault([DEFAULT_RETRY_STATUSES]),
    ),
  }),
  suppression: section('Suppression of addresses that all retries failed for.', {
    steps: setting(
      'How long an address is suppressed because all retries failed: the first time, and each further time that a new outage begins within 90 days after the last suppression ended; then always the last.',
      z
        .array(parsed((step) => parseDuration(step)))
        .min(1, { error: 'it must name a duration' })
        .prefault(['1d', '3d', '7d', '30d']),
    ),
    restoreWithin: setting(
      'When a destination accepts mail again, the suppressions that its unavailability caused expire within this time, spread out.',
      duration(MINUTE, 7 * DAY).prefault('1h'),
    ),
  }),
  store: section('Stored messages.', {
    messageRetention: setting(
      'How long a message is kept after it was last used. One that a retry still needs is never deleted.',
      duration(HOUR, 3650 * DAY).prefault('10d'),
    ),
  }),
  throttle: THROTTLE,
  returnPath: RETURN_PATH,
  intake: INTAKE,
  providers: PROVIDER_SECTION,
  events: EVENTS,
  encryption: ENCRYPTION,
  http: HTTP,
  worker: section('The worker process.', {
    maxConcurrentSends: setting('Maximum SMTP transactions that one worker has open at once.', integer(1, 10_000).prefault(100)),
    shutdownGrace: setting(
      'How long a stopping worker lets running transactions finish. Those still open then are stopped if that is safe, and another worker continues.',
      duration(0, HOUR).prefault('25s'),
    ),
    taskQueue: setting(
      'The task queue that workers poll, and on which clients start retries. A second fleet in the same namespace needs a name of its own; all its processes need the same.',
      matching(/^[A-Za-z0-9._-]{1,64}$/, 'it must be 1 to 64 letters, digits, dots, hyphens or underscores').prefault(TASK_QUEUE),
    ),
    nexus: setting(
      'Whether the worker serves the Nexus service `softbounce`, through which workflows of other namespaces start and control retries.',
      flag.prefault(false),
    ),
  }),
  log: section('Logging.', {
    level: setting('Which lines are logged.', oneOf(['debug', 'info', 'warn', 'error']).prefault('info')),
  }),
})

/** The configuration as it is written; options.ts has the same, written out. */
export type ConfigInput = z.input<typeof CONFIG>
export type ConfigValues = z.output<typeof CONFIG>

/** The part of the JSON Schema that describes a setting or a section. */
export interface Described {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  /** A secret. */
  readonly writeOnly?: boolean
  readonly properties?: Readonly<Record<string, Described>>
  readonly items?: Described
  readonly additionalProperties?: Described | boolean
}

/** A part of a path in the configuration: a key, or an index of a list. */
export type Key = string | number

let described: Described | undefined

/** The JSON Schema of `softbounce.yaml`. */
export function jsonSchema(): Described {
  described ??= z.toJSONSchema(CONFIG, { io: 'input' }) as Described
  return described
}

/** A setting: the leaf of a section. */
export interface SettingInfo {
  readonly path: readonly string[]
  /** `relay.url` */
  readonly name: string
  /** `SOFTBOUNCE_RELAY_URL` */
  readonly variable: string
  readonly doc: string
  readonly isSecret: boolean
  readonly default: unknown
  /** How its text in the environment is read: `table` as YAML, `list` as YAML or separated by commas. */
  readonly kind: 'text' | 'integer' | 'flag' | 'list' | 'table'
  readonly words: readonly string[] | null
}

export const variableOf = (path: readonly string[]): string =>
  `SOFTBOUNCE_${path.map((part) => part.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('_')}`

function kindOf({ type, items }: Described): SettingInfo['kind'] {
  if (type === 'integer') return 'integer'
  if (type === 'boolean') return 'flag'
  if (type === 'array') return items?.type === 'string' ? 'list' : 'table'
  return type === 'object' ? 'table' : 'text'
}

function settingsIn(described: Described, path: readonly string[]): SettingInfo[] {
  if (described.properties !== undefined)
    return Object.entries(described.properties).flatMap(([name, inner]) => settingsIn(inner, [...path, name]))
  return [
    {
      ...{ path, name: path.join('.'), variable: variableOf(path), doc: described.description ?? '' },
      ...{ isSecret: described.writeOnly === true, default: described.default, kind: kindOf(described), words: described.enum ?? null },
    },
  ]
}

let known: readonly SettingInfo[] | undefined

/** All settings, in the order of the schema. */
export function allSettings(): readonly SettingInfo[] {
  known ??= settingsIn(jsonSchema(), [])
  return known
}

/** The names that the table at this path knows. */
export function namesAt(path: readonly Key[]): string[] {
  const inside = ({ properties, items, additionalProperties }: Described, key: Key): Described =>
    properties?.[key] ?? items ?? (typeof additionalProperties === 'object' ? additionalProperties : {})
  return Object.keys(path.reduce(inside, jsonSchema()).properties ?? {})
}
