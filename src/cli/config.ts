/** softbounce config: the settings in force, where each comes from, what is wrong with them, and a file to begin with. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import type { Command } from 'commander'
import { checkedSettings, hasNextHop, type Settings } from '../config/index.js'
import { initialFile, type ShownSetting, showSettings } from '../config/show.js'
import { load } from '../config/sources.js'
import { inPackage } from '../paths.js'
import { CommandFailed, json, line, table } from './output.js'

const SCHEMA = inPackage('./softbounce.schema.json')

function shownText(value: unknown): string {
  if (value === null || (Array.isArray(value) && value.length === 0)) return '(none)'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function temporalSettings(): ShownSetting[] {
  const { connectionOptions, namespace } = loadClientConnectConfig()
  const from = (value: string | undefined) => (value === undefined ? 'default' : 'Temporal’s environment or profile')
  const { address } = connectionOptions
  return [
    { name: 'TEMPORAL_ADDRESS', value: address ?? 'localhost:7233', source: from(address) },
    { name: 'TEMPORAL_NAMESPACE', value: namespace ?? 'default', source: from(namespace) },
  ]
}

function show(options: { all?: boolean; json?: boolean }): void {
  const loaded = load()
  const shown = [...showSettings(loaded), ...temporalSettings()].filter(({ source }) => options.all || source !== 'default')
  if (options.json) for (const setting of shown) json(setting)
  else {
    line(`configuration file: ${loaded.file ?? 'none'}`)
    table(shown.map(({ name, value, source }) => [name, shownText(value), source]))
    if (!options.all) line('every other setting has its default; --all shows them')
  }
  for (const text of loaded.overridden) process.stderr.write(`softbounce: ${text}\n`)
  checkedSettings(loaded)
}

function check(options: { json?: boolean }): void {
  const loaded = load()
  const { file, overridden } = loaded
  const { length: set } = showSettings(loaded).filter(({ source }) => source !== 'default')
  const missing = whatWorkerLacks(checkedSettings(loaded))
  if (options.json) json({ file, settings: set, overridden, missing })
  else {
    for (const text of overridden) line(text)
    for (const text of missing) line(text)
    line(`no faults: ${set} ${set === 1 ? 'setting' : 'settings'}, ${file === null ? 'no file' : `file ${file}`}`)
  }
}

/** What a worker, or an application that tracks, would not start without. */
function whatWorkerLacks(settings: Settings): string[] {
  return [
    ...(hasNextHop(settings) ? [] : ['a worker does not start yet: set relay.url, routes or direct.enabled']),
    ...(settings.returnPaths === null ? ['track does not start yet, and no bounce is authenticated: set returnPath.keys'] : []),
  ]
}

function init(file: string): void {
  const path = resolve(file)
  if (existsSync(path)) throw new CommandFailed(`${path} exists already; it stays as it is`)
  const fromThere = relative(dirname(path), SCHEMA)
  mkdirSync(dirname(path), { recursive: true })
  // a project's own copy keeps its place next to the file; a global one has none
  writeFileSync(path, initialFile(fromThere.startsWith('node_modules') ? `./${fromThere}` : SCHEMA), { flag: 'wx', mode: 0o600 })
  line(`${path} has every setting, with its default or an example; edit it, then run softbounce config check`)
}

export function addConfig(program: Command): void {
  const config = program
    .command('config')
    .description('show the settings that differ from the defaults, and where each came from; secrets are masked')
    .option('--all', 'every setting, defaults too')
    .option('--json', 'print JSON, one object a line')
    .action(show)
  config
    .command('check')
    .description('check the configuration file and the environment; exit status 2 if something is wrong')
    .option('--json', 'print JSON')
    .action((_: unknown, command: Command) => check(command.optsWithGlobals()))
  config
    .command('init')
    .description('write a commented softbounce.yaml with every setting')
    .argument('[file]', 'the file to write; one that exists is left alone', 'softbounce.yaml')
    .action(init)
}
