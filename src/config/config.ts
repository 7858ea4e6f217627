/** The settings as the program uses them, and how they are read and checked. */
import type { WorkerDeploymentVersion } from '@temporalio/common'
import type { z } from 'zod'
import type { RetryStatuses, TrialSchedule } from '../bounce/index.js'
import type { DirectSettings, DkimKey, NextHop, NextHops, ReturnPaths, SmtpTimeouts } from '../delivery/index.js'
import type { Provider, ProviderApi, ProviderSecrets } from '../providers/index.js'
import type { DatabaseSettings } from '../store/database.js'
import type { ThrottleSettings } from '../throttle/index.js'
import { directSettings, dkimKeys, ehloDomain, nextHops, smtpTimeouts } from './connection.js'
import { checkHttp, type EncryptionSettings, encryptionSettings } from './encryption.js'
import { type EventSettings, eventSettings } from './events.js'
import { originOf } from './from-environment.js'
import { type ImapSettings, type IntakeSettings, imapSettings, intakeSettings, returnPaths } from './intake.js'
import { throttleSettings } from './limits.js'
import type { Config } from './options.js'
import { providerSecrets, removalApi } from './providers.js'
import { CONFIG, type ConfigValues, defaultDatabaseUrl, type Key, namesAt } from './schema.js'
import { type Environment, given, type Loaded, load, unknownName } from './sources.js'
import { type AddFault, WrongSettings } from './wrong-settings.js'

/** The settings as the program uses them. */
export interface Settings {
  readonly database: DatabaseSettings
  readonly paths: NextHops
  /** The next hop for messages that request the backup relay; null if there is none. */
  readonly backup: NextHop | null
  /** Null: destinations without a route go through the relay. */
  readonly direct: DirectSettings | null
  readonly throttle: ThrottleSettings
  readonly ownHosts: readonly string[]
  readonly scheduleMs: readonly number[]
  readonly trialSchedules: readonly TrialSchedule[]
  readonly retryStatuses: RetryStatuses
  readonly confirmWithinMs: number
  readonly suppressionStepsMs: readonly number[]
  readonly messageRetentionMs: number
  /** The key of the author's domain signs messages sent directly or by a route. */
  readonly dkim: readonly DkimKey[]
  /** Null if no key is set: then nothing is signed, and no return path is authenticated. */
  readonly returnPaths: ReturnPaths | null
  readonly intake: IntakeSettings
  readonly mailbox: ImapSettings | null
  /** The provider behind the relay; null if none is set. */
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
  readonly taskQueue: string
  /** Whether the worker serves the Nexus service. */
  readonly nexus: boolean
  /** The worker's deployment version; null: worker versioning is off. */
  readonly deploymentVersion: WorkerDeploymentVersion | null
  readonly httpPort: number | null
  readonly httpHost: string
  /** Address of the Web UI; null: the usual one, if there is one. */
  readonly webUi: string | null
  /** The bearer token for the metrics; null is allowed on loopback only. */
  readonly httpToken: string | null
  readonly logLevel: ConfigValues['log']['level']
  /** Settings whose value in the file is not used, since the environment has one too. */
  readonly overridden: readonly string[]
}

/** The names of settings, or of sections, that a caller needs; others are not checked. */
export type Needed = readonly string[]

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'it must be text',
  array: 'it must be a list',
  object: 'it must be a mapping with names and values',
  record: 'it must be a mapping with names and values',
  boolean: 'it must be true or false',
}

/** What zod's own messages leave open: a fault in a sentence. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type') return undefined
  const { input } = issue
  if (input === undefined) return 'it is missing'
  if (issue.expected === 'string' && typeof input !== 'object')
    return 'it is no text: a duration or a rate has a unit (6d, 14/s), anything else goes in quotes'
  return EXPECTED[issue.expected] ?? `it must be ${issue.expected}`
}

/** Whether a caller needs the setting or section with this name, or one that contains it. */
const isNeeded = (needed: Needed | null, name: string): boolean =>
  needed === null || needed.some((one) => name === one || name.startsWith(`${one}.`))

/** Whether it needs something within the section with this name. */
const isNeededWithin = (needed: Needed | null, name: string): boolean => needed === null || needed.some((one) => one.startsWith(`${name}.`))

/**
 * Parses the raw configuration. What is wrong is left out of the values, so that everything else is checked too.
 * @returns the values, and the names of the settings that are left out.
 */
function parseConfig(loaded: Loaded, needed: Needed | null, faults: string[]): { values: ConfigValues; leftOut: string[] } {
  const leftOut: string[] = []
  let raw: object = loaded.raw
  // the setting at first; if its section is wrong without it, the section
  for (const part of [settingAt, (path: readonly Key[]) => path.slice(0, 1), () => []]) {
    const { data, error } = CONFIG.safeParse(raw, { error: sentence })
    if (data !== undefined) return { values: data, leftOut }
    if (raw === loaded.raw) faults.push(...error.issues.flatMap((issue) => faultsOf(issue, loaded, needed)))
    for (const path of error.issues.flatMap(pathsOf)) {
      leftOut.push(settingAt(path).join('.'))
      raw = without(raw, part(path))
    }
  }
  return { values: CONFIG.parse({}), leftOut }
}

/** The path up to a list: its elements are left out together. */
function settingAt(path: readonly Key[]): readonly Key[] {
  const element = path.findIndex((key) => typeof key === 'number')
  return element < 0 ? path : path.slice(0, element)
}

const pathsOf = (issue: z.core.$ZodIssue): Key[][] =>
  issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key] as Key[]) : [issue.path as Key[]]

function faultsOf(issue: z.core.$ZodIssue, loaded: Loaded, needed: Needed | null): string[] {
  const path = issue.path as Key[]
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(
      (key) => `${loaded.placeOf([...path, key])}: ${unknownName(key, namesAt(path), path.length === 0 ? 'section' : 'setting')}`,
    )
  const counts = isNeeded(needed, path.join('.')) || isNeededWithin(needed, path.join('.'))
  return counts ? [`${loaded.placeOf(path)}: ${issue.message}`] : []
}

/** A configuration without one setting; without any, if the path is empty. */
function without(raw: object, [key, ...rest]: readonly Key[]): object {
  if (key === undefined) return {}
  const { [key]: inner, ...others } = raw as Record<Key, unknown>
  return rest.length === 0 || typeof inner !== 'object' || inner === null ? others : { ...others, [key]: without(inner, rest) }
}

/**
 * Checks a configuration that was read.
 * @throws WrongSettings with every fault.
 */
export function checkedSettings(loaded: Loaded, needed: Needed | null = null): Settings {
  const faults = [...loaded.faults]
  const { values, leftOut } = parseConfig(loaded, needed, faults)
  const settings = settingsOf(values, loaded, (name, text) => {
    // what is left out for a fault of its own does not count as missing
    const isLeftOut = leftOut.some((other) => (other.includes('.') && text.includes(other)) || name.split('.')[0] === other.split('.')[0])
    if (isNeeded(needed, name) && !isLeftOut)
      faults.push(`${loaded.placeOf(name.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part)))}: ${text}`)
  })
  if (faults.length > 0) throw new WrongSettings(faults)
  return settings
}

/**
 * Reads the settings from `softbounce.yaml` and the environment.
 * @param needed names of settings or sections; others are not checked.
 * @throws WrongSettings with every fault.
 */
export function readSettings(environment: Environment = process.env, needed: Needed | null = null): Settings {
  return checkedSettings(load(environment), needed)
}

/**
 * Checks options that have the shape of `softbounce.yaml`. The environment is not read.
 * @throws WrongSettings with every fault.
 */
export function settingsFrom(config: Config, needed: Needed | null = null): Settings {
  const loaded = originOf(config) ?? given(config)
  // options may hold more than settings, such as a provider
  const sections = new Set(Object.keys(CONFIG.shape))
  const raw = Object.fromEntries(Object.entries(loaded.raw).filter(([name]) => sections.has(name)))
  return checkedSettings({ ...loaded, raw }, needed)
}

function settingsOf(values: ConfigValues, { overridden, environment }: Loaded, fault: AddFault): Settings {
  const { relay, retry, http, worker, suppression } = values
  const hops = nextHops(relay, values.routes, fault)
  const direct = directSettings(values.direct, values.smtp, fault)
  if (direct !== null && hops.paths.relay !== null)
    fault('direct.enabled', 'relay.url is set too; leave one of them out (routes may name single destinations)')
  checkHttp(http, fault)
  if (values.database.throttleSchema === values.database.schema)
    fault('database.throttleSchema', 'it must be another schema than database.schema, which holds what other fleets must not see')
  return {
    database: {
      url: values.database.url ?? defaultDatabaseUrl(environment),
      schema: values.database.schema,
      throttleSchema: values.database.throttleSchema ?? null,
    },
    ...hops,
    direct,
    throttle: throttleSettings(values.throttle, relay, suppression.restoreWithin, fault),
    ownHosts: values.ownHosts,
    scheduleMs: retry.schedule,
    trialSchedules: retry.schedules,
    retryStatuses: retry.statuses,
    confirmWithinMs: relay.confirmWithin,
    suppressionStepsMs: suppression.steps,
    messageRetentionMs: values.store.messageRetention,
    dkim: dkimKeys(values.direct),
    returnPaths: returnPaths(values.returnPath, [retry.schedule, ...retry.schedules.map(({ delaysMs }) => delaysMs)], relay.confirmWithin),
    intake: intakeSettings(values.intake),
    mailbox: imapSettings(values.intake.imap, fault),
    relayPreset: relay.provider ?? null,
    providers: providerSecrets(values.providers),
    unlistBy: removalApi(values.providers, relay.provider, fault),
    events: eventSettings(values.events, fault),
    encryption: encryptionSettings(values.encryption, fault),
    ehloDomain: ehloDomain(values.smtp),
    timeouts: smtpTimeouts(values.smtp.timeouts),
    maxConcurrentSends: worker.maxConcurrentSends,
    shutdownGraceMs: worker.shutdownGrace,
    taskQueue: worker.taskQueue,
    nexus: worker.nexus,
    deploymentVersion: deploymentVersion(environment, fault),
    httpPort: http.port ?? null,
    httpHost: http.host,
    webUi: http.webUi ?? null,
    httpToken: http.token ?? null,
    logLevel: values.log.level,
    overridden,
  }
}

/** Temporal's own variables for worker versioning, as its worker controller for Kubernetes sets them. */
function deploymentVersion(environment: Environment, fault: AddFault): WorkerDeploymentVersion | null {
  const { TEMPORAL_DEPLOYMENT_NAME: deploymentName = '', TEMPORAL_WORKER_BUILD_ID: buildId = '' } = environment
  // Temporal joins the two with a dot or a colon
  for (const [name, text] of Object.entries({ TEMPORAL_DEPLOYMENT_NAME: deploymentName, TEMPORAL_WORKER_BUILD_ID: buildId }))
    if (!/^[A-Za-z0-9_./-]{0,200}$/.test(text)) fault(name, 'it must be letters, digits, ., _, / and -')
  if (deploymentName !== '' && buildId !== '') return { deploymentName, buildId }
  if (deploymentName !== buildId) fault('TEMPORAL_DEPLOYMENT_NAME', 'it goes with TEMPORAL_WORKER_BUILD_ID: set both, or neither')
  return null
}

/** Whether there is a next hop: a relay, routes, or direct delivery. */
export const hasNextHop = ({ paths, direct }: Pick<Settings, 'paths' | 'direct'>): boolean =>
  paths.relay !== null || paths.routes.length > 0 || direct !== null

/** @throws WrongSettings if there is no next hop. */
export function requireNextHop(settings: Settings): void {
  if (!hasNextHop(settings))
    throw new WrongSettings([
      'relay.url: neither relay.url nor routes nor direct.enabled is set, so that nothing can be sent; set relay.url (SOFTBOUNCE_RELAY_URL=smtp://your-relay:25)',
    ])
}
