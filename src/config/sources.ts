/** Where settings come from: `softbounce.yaml`, the environment, and files that the environment names. */
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { closest, distance } from 'fastest-levenshtein'
import { type Document, isMap, isScalar, LineCounter, parse, parseDocument, visit } from 'yaml'
import { allSettings, type Key, type SettingInfo } from './schema.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** The configuration before it is checked. */
export interface Loaded {
  readonly raw: Readonly<Record<string, unknown>>
  /** What could not even be read. */
  readonly faults: readonly string[]
  /** Settings with a value in the file and one in the environment, which wins. */
  readonly overridden: readonly string[]
  /** Also names the user's folders, and Temporal's own variables. */
  readonly environment: Environment
  /** The configuration file; null if there is none. */
  readonly file: string | null
  /** Where the value at a path is: `softbounce.yaml:3:8: relay.url`, `SOFTBOUNCE_RELAY_URL`, or the bare path. */
  placeOf(path: readonly Key[]): string
  /** Where a setting's value came from; null for its default. */
  sourceOf(setting: SettingInfo): string | null
}

const FILE_NAME = 'softbounce.yaml'
/** Read by softbounce, and no settings. */
const NOT_SETTINGS = new Set(['SOFTBOUNCE_CONFIG'])
/** Names further away than that are no spelling of each other. */
const MOST_EDITS = 0.4

/** The known name that was probably meant; null if none is near. */
function nearest(name: string, all: readonly string[]): string | null {
  if (all.length === 0) return null
  const found = closest(name, all as string[])
  return distance(name, found) <= Math.max(2, MOST_EDITS * Math.max(name.length, found.length)) ? found : null
}

export const unknownName = (name: string, all: readonly string[], what = 'setting'): string => {
  const meant = nearest(name, all)
  return `there is no ${what} ${name}${meant === null ? '' : `; did you mean ${meant}?`}`
}

/**
 * The configuration file: the one that `SOFTBOUNCE_CONFIG` names (`--config` sets it), else `softbounce.yaml` in the working directory, else in the user's
 * configuration folder; null if there is none.
 */
export function findConfigFile(environment: Environment): string | null {
  const named = environment.SOFTBOUNCE_CONFIG ?? ''
  if (named !== '') return resolve(named)
  const xdg = environment.XDG_CONFIG_HOME ?? ''
  const folders = [process.cwd(), join(isAbsolute(xdg) ? xdg : join(homedir(), '.config'), 'softbounce')]
  return folders.map((folder) => join(folder, FILE_NAME)).find((file) => existsSync(file)) ?? null
}

interface ConfigFile {
  readonly document: Document | null
  /** File, line and column of an offset in it. */
  readonly place: (offset: number) => string
}

function readConfigFile(name: string, faults: string[]): ConfigFile {
  const lineCounter = new LineCounter()
  const place = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset)
    return `${name}:${line}:${col}`
  }
  const before = faults.length
  try {
    const document = parseDocument(readFileSync(name, 'utf8'), { lineCounter, prettyErrors: false })
    for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
      const text = code === 'DUPLICATE_KEY' ? 'this name is set twice in its section: leave one of them out' : message
      faults.push(`${place(pos[0])}: ${text}`)
    }
    visit(document, {
      Alias: (_, { source, range }) => {
        faults.push(`${place(range?.[0] ?? 0)}: a value that begins with * must be in quotes: "*${source}" (aliases are not read)`)
      },
    })
    return { document: faults.length > before ? null : document, place }
  } catch (error) {
    faults.push(`${name}: it cannot be read: ${(error as Error).message}`)
    return { document: null, place }
  }
}

/** Takes empty values out: `relay:` without anything below it sets nothing. */
function withoutNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNull)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNull(inner)]),
  )
}

/** The text of a setting in the environment, as YAML would give its value. */
function readText(text: string, { kind }: SettingInfo): unknown {
  if (kind === 'integer') return /^\d{1,15}$/.test(text.trim()) ? Number(text) : text
  if (kind === 'flag') return /^(true|yes|1)$/i.test(text) ? true : /^(false|no|0)$/i.test(text) ? false : text
  if (kind === 'table' || (kind === 'list' && text.trim().startsWith('['))) return withoutNull(parse(text))
  if (kind === 'list') return text.split(/[\s,]+/).filter((one) => one !== '')
  return text
}

/** The value of a setting in the environment; null if there is none. */
function fromEnvironment(setting: SettingInfo, environment: Environment, faults: string[]): { variable: string; value: unknown } | null {
  const { variable, isSecret } = setting
  const text = environment[variable] ?? ''
  const file = isSecret ? (environment[`${variable}_FILE`] ?? '') : ''
  if (text !== '' && file !== '') faults.push(`${variable}: ${variable}_FILE is set too; leave one of them out`)
  if (text === '' && file === '') return null
  const used = text === '' ? `${variable}_FILE` : variable
  try {
    return { variable: used, value: readText(text === '' ? readFileSync(file, 'utf8').replace(/\r?\n$/, '') : text, setting) }
  } catch (error) {
    // a YAML error quotes what it could not read
    const why =
      text === '' && (error as NodeJS.ErrnoException).code !== undefined
        ? (error as Error).message
        : isSecret
          ? 'it is not valid YAML'
          : (error as Error).message.split('\n')[0]
    faults.push(`${used}: ${why}`)
    return null
  }
}

function unknownVariables(environment: Environment): string[] {
  const names = allSettings().flatMap(({ variable, isSecret }) => (isSecret ? [variable, `${variable}_FILE`] : [variable]))
  const known = new Set([...names, ...NOT_SETTINGS])
  return Object.keys(environment)
    .filter((name) => name.startsWith('SOFTBOUNCE_') && !known.has(name))
    .map((name) => `${name}: ${unknownName(name, names)}`)
}

function setIn(object: Record<string, unknown>, [key, ...rest]: readonly string[], value: unknown): void {
  if (key === undefined) return
  if (rest.length === 0) {
    object[key] = value
    return
  }
  const inner = object[key]
  const next = typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? (inner as Record<string, unknown>) : {}
  object[key] = next
  setIn(next, rest, value)
}

/** Where the value at a path is in the file; null if it is not there. */
function lineOf(file: ConfigFile | null, path: readonly Key[]): string | null {
  const document = file?.document ?? null
  if (file === null || document === null) return null
  const parent = path.length < 2 ? document.contents : document.getIn(path.slice(0, -1), true)
  const pair = isMap(parent) ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1)) : undefined
  const node = (pair?.key ?? document.getIn(path, true)) as { range?: readonly number[] } | undefined
  return node?.range?.[0] === undefined ? null : file.place(node.range[0])
}

const nameOf = (path: readonly Key[]): string => path.join('.')

/** Reads the file and the environment. The environment wins. */
export function load(environment: Environment = process.env, path: string | null = findConfigFile(environment)): Loaded {
  const faults: string[] = unknownVariables(environment)
  const overridden: string[] = []
  const file = path === null ? null : readConfigFile(path, faults)
  const contents = file?.document?.toJS() ?? {}
  const isTable = typeof contents === 'object' && contents !== null && !Array.isArray(contents)
  if (!isTable) faults.push(`${path}:1:1: it must be a table of sections, such as relay: and retry:`)
  const raw = (isTable ? withoutNull(contents) : {}) as Record<string, unknown>
  const variables = new Map<string, string>()
  for (const setting of allSettings()) {
    const found = fromEnvironment(setting, environment, faults)
    if (found === null) continue
    const line = lineOf(file, setting.path)
    if (line !== null) overridden.push(`${setting.name}: ${found.variable} is set, and so its value in ${line} is not used`)
    variables.set(setting.name, found.variable)
    setIn(raw, setting.path, found.value)
  }
  const variableAt = (at: readonly Key[]) => at.map((_, i) => variables.get(nameOf(at.slice(0, i + 1)))).find((name) => name !== undefined)
  return {
    raw,
    faults,
    overridden,
    environment,
    file: path,
    placeOf: (at) => {
      const variable = variableAt(at)
      if (variable !== undefined) return variables.get(nameOf(at)) === variable ? variable : `${variable}: ${nameOf(at)}`
      // the nearest part of the file that there is: a missing key has no line of its own
      const line = at.map((_, i) => lineOf(file, at.slice(0, at.length - i))).find((one) => one !== null)
      return line == null ? nameOf(at) : `${line}: ${nameOf(at)}`
    },
    sourceOf: ({ name, path: at }) => variables.get(name) ?? lineOf(file, at),
  }
}

/** A configuration that the program passes itself. */
export function given(config: object): Loaded {
  const raw = withoutNull(config) as Record<string, unknown>
  return { raw, faults: [], overridden: [], environment: process.env, file: null, placeOf: nameOf, sourceOf: () => null }
}
