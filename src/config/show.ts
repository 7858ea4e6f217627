/** The configuration as people see it: each setting with its source, secrets masked; a commented file to begin with. */
import { stringify } from 'yaml'
import { allSettings, type Described, jsonSchema, type SettingInfo } from './schema.js'
import type { Loaded } from './sources.js'

/** A setting as `softbounce config` shows it. */
export interface ShownSetting {
  /** `relay.url` */
  readonly name: string
  /** As in the file; a secret is masked. Null if it is not set and has no default. */
  readonly value: unknown
  /** The line of the file, the variable, or `default`. */
  readonly source: string
}

/** A URL whose parts are beyond doubt: user, host and port, path. */
const PLAIN_URL =
  /^([a-z][a-z0-9+.-]*):\/\/(?:([\w.%+-]+)(:[^\s:/?#@]*)?@)?([\w.-]+(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?)(\/[\w.-]*)?(\?.*)?$/i

/**
 * Masks a secret. Of a URL, scheme, user, host and database name stay visible if they are beyond doubt, else the scheme alone; a `file:` URL whole; of
 * anything else, nothing.
 */
export function mask(text: string): string {
  if (/^file:/.test(text)) return text.includes('://') ? 'file:***' : text.replace(/\?.*$/, '?***')
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]
  if (scheme === undefined) return '***'
  const [, , user, password, host, path = '', query] = PLAIN_URL.exec(text) ?? []
  if (host === undefined) return `${scheme}://***`
  // a path may hold a token, except a database's name
  const shown = /^postgres(ql)?$/.test(scheme) ? path : path.length > 1 ? '/***' : ''
  return `${scheme}://${user === undefined ? '' : password === undefined ? '***@' : `${user}:***@`}${host}${shown}${query === undefined ? '' : '?***'}`
}

const masked = (value: unknown): unknown =>
  typeof value === 'string' ? mask(value) : Array.isArray(value) ? value.map(masked) : value === undefined ? null : '***'

const valueAt = (raw: object, path: readonly string[]): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined),
    raw,
  )

/** Every setting, its value and where it came from. */
export function showSettings(loaded: Loaded): ShownSetting[] {
  return allSettings().map((setting) => {
    const source = loaded.sourceOf(setting)
    const value = source === null ? setting.default : valueAt(loaded.raw, setting.path)
    return { name: setting.name, value: setting.isSecret && source !== null ? masked(value) : (value ?? null), source: source ?? 'default' }
  })
}

const WIDTH = 100

function comment(text: string, indent: string): string {
  const lines: string[] = []
  for (const word of text
    .replace(/\]\([^)]*\)/g, ']')
    .replace(/[[\]]/g, '')
    .split(' ')) {
    const last = lines.at(-1)
    if (last === undefined || last.length + word.length > WIDTH) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines.map((line) => `${indent}# ${line}\n`).join('')
}

const EXAMPLES: Readonly<Record<string, unknown>> = {
  'database.url': 'postgres://softbounce:password@127.0.0.1/softbounce',
  'relay.url': 'smtp://127.0.0.1:25',
  routes: [{ destination: 'example.org', host: 'mx.example.org', port: 25 }],
  ownHosts: ['*.example.com'],
  'direct.dkim': [{ domain: 'example.com', selector: 's1', keyFile: '/etc/softbounce/dkim.pem' }],
  'returnPath.keys': ['BASE64'],
  'encryption.keys': [{ id: 'k1', key: 'BASE64_OF_32_BYTES' }],
  'events.publish': ['bounce.delivered', 'bounce.suppressed', 'destination.down', 'destination.up'],
  'throttle.groups': [{ name: 'google', hosts: ['*.google.com', '*.googlemail.com'] }],
  'throttle.destinations': { google: { maxMessageRate: '10/s', connectionLimit: 2 } },
  'events.urgentRules': [{ header: 'X-Priority', value: '1*' }, { sender: '*@billing.example' }],
  'http.port': 9464,
}

/** The default, or an example that says so. */
function written(setting: SettingInfo): string {
  const example = EXAMPLES[setting.name]
  if (example === undefined && setting.default === undefined)
    return setting.words === null ? '' : `${setting.words[0]} # example; one of ${setting.words.join(', ')}`
  const text = stringify(example ?? setting.default, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd()
  return `${text}${example === undefined ? '' : ' # example'}${setting.words === null ? '' : ` # one of ${setting.words.join(', ')}`}`
}

function describe(described: Described, path: readonly string[], settings: ReadonlyMap<string, SettingInfo>, indent: string): string {
  let text = ''
  for (const [key, inner] of Object.entries(described.properties ?? {})) {
    const at = [...path, key]
    const setting = settings.get(at.join('.'))
    text += path.length === 0 ? '\n' : ''
    text += comment(inner.description ?? '', indent)
    // a section may stand there empty
    if (setting === undefined) text += `${indent}${key}:\n${describe(inner, at, settings, `${indent}  `)}`
    else text += `${`${indent}#${key}: ${written(setting)}`.trimEnd()}\n`
  }
  return text
}

/** A commented `softbounce.yaml` with every setting and its default. @param schema where the JSON Schema is, for editors. */
export function initialFile(schema: string): string {
  const settings = new Map(allSettings().map((setting) => [setting.name, setting]))
  return `# yaml-language-server: $schema=${schema}
# softbounce's configuration. Each setting may also be set in the environment: relay.url as SOFTBOUNCE_RELAY_URL,
# and a secret also by a file that SOFTBOUNCE_RELAY_URL_FILE names. Check it with: softbounce config check
# To set something, take the # in front of it away. A line shows the default, or says that it is an example.
# Durations are a number and a unit (90s, 4h, 1h30m, 6d), rates a number by a unit (2/s, 30/min).
#
# A worker needs relay.url, routes or direct.enabled, and Temporal: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_API_KEY in the environment,
# as for Temporal's own CLI. Signed return paths need returnPath.keys, and mail to returnPath.address must reach intake.listen or intake.imap.url.
# The same in worker, intake and every application: database, returnPath, retry, relay.provider, relay.confirmWithin, encryption.
# Then: softbounce config check, softbounce worker, softbounce doctor.
${describe(jsonSchema(), [], settings, '')}`
}
