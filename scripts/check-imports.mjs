// Checks the structure of src/: imports between folders go one way, there are no import cycles, and no file is too long.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../src', import.meta.url))
const MAX_LINES = 300

/** What a process that runs workers needs. */
const OF_A_WORKER = [
  'activities',
  'bounce',
  'config',
  'delivery',
  'doctor',
  'encryption',
  'intake',
  'logger.ts',
  'nexus',
  'store',
  'temporal',
  'throttle',
]

/** What each folder (or top-level file) may import; `type:` allows types only. Later rows may import earlier ones, never the reverse. */
const MAY = {
  bounce: [],
  dsn: ['bounce'],
  providers: ['bounce', 'dsn'],
  'backoff.ts': [],
  'optional-packages.ts': [],
  'paths.ts': [],
  'version.ts': ['paths.ts'],
  'logger.ts': [],
  store: ['bounce', 'version.ts'],
  temporal: ['backoff.ts', 'type:logger.ts', 'store'],
  suppression: ['bounce', 'store'],
  throttle: ['bounce', 'type:logger.ts', 'store', 'suppression', 'temporal'],
  delivery: ['backoff.ts', 'bounce', 'dsn', 'providers', 'store', 'suppression', 'temporal', 'throttle'],
  config: ['bounce', 'delivery', 'providers', 'store', 'throttle'],
  encryption: ['bounce', 'type:config', 'paths.ts', 'workflows'],
  report: ['bounce', 'type:logger.ts', 'store', 'throttle'],
  activities: [
    'bounce',
    'type:config',
    'dsn',
    'delivery',
    'encryption',
    'providers',
    'type:report',
    'store',
    'suppression',
    'temporal',
    'throttle',
  ],
  workflows: ['bounce', 'type:activities'],
  client: [
    'bounce',
    'config',
    'delivery',
    'dsn',
    'encryption',
    'providers',
    'store',
    'suppression',
    'temporal',
    'throttle',
    'type:workflows',
  ],
  nexus: ['bounce', 'client', 'encryption', 'temporal', 'type:workflows'],
  intake: ['backoff.ts', 'bounce', 'client', 'config', 'delivery', 'dsn', 'logger.ts', 'providers', 'type:report', 'store', 'suppression'],
  'track.ts': ['client', 'config', 'delivery', 'type:suppression'],
  doctor: ['bounce', 'config', 'delivery', 'type:logger.ts', 'store', 'temporal', 'version.ts'],
  'worker.ts': [...OF_A_WORKER, 'optional-packages.ts', 'paths.ts', 'report'],
  'plugin.ts': [...OF_A_WORKER, 'optional-packages.ts', 'report', 'worker.ts'],
  cli: [
    ...[
      'optional-packages.ts',
      'bounce',
      'client',
      'config',
      'delivery',
      'doctor',
      'dsn',
      'encryption',
      'intake',
      'logger.ts',
      'paths.ts',
      'providers',
      'report',
      'store',
    ],
    ...['suppression', 'throttle', 'version.ts', 'worker.ts'],
  ],
}
/** Folders without I/O, clock or randomness. */
const PURE = ['bounce']
/** The only packages that the workflow sandbox provides. */
const WORKFLOW_PACKAGES = ['@temporalio/workflow', '@temporalio/common']

/** `import … from '…'`, `export … from '…'`, `import '…'`: captures the clause and the specifier. */
const STATEMENT = /^(?:import|export)\s+(?:((?:type\s+)?(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?|\w+(?:\s*,\s*\{[^}]*\})?))\s+from\s+)?'([^']+)'/gm
const DYNAMIC = /\bimport\(()'([^']+)'\)/g

const faults = []
/** File -> files that it imports, including type-only imports. */
const loads = new Map()
for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
  const file = join(entry.parentPath, entry.name)
  const from = relative(src, file).split('/')[0]
  const text = readFileSync(file, 'utf8')
  const lines = text.split('\n').length - 1
  if (lines > MAX_LINES) faults.push(`src/${relative(src, file)}: ${lines} lines (at most ${MAX_LINES})`)
  const loaded = []
  for (const [whole, clause, specifier] of [...text.matchAll(STATEMENT), ...text.matchAll(DYNAMIC)]) {
    const where = `src/${relative(src, file)}: ${specifier}`
    if (!specifier.startsWith('.')) {
      if (PURE.includes(from)) faults.push(`${where} (src/${from} is pure)`)
      if (from === 'workflows' && !WORKFLOW_PACKAGES.includes(specifier)) faults.push(`${where} (not in the workflows' sandbox)`)
      continue
    }
    const target = resolve(dirname(file), specifier.replace(/\.js$/, '.ts'))
    const onlyTypes = /^\s*(?:type\s|\*\sas\stype)/.test(clause ?? '')
    if (!whole.startsWith('import(')) loaded.push(target)
    const to = relative(src, target).split('/')[0]
    if (to === from) continue
    const may = MAY[from] ?? []
    if (!may.includes(to) && !(onlyTypes && may.includes(`type:${to}`))) faults.push(`${where} (${from} may not import ${to})`)
  }
  loads.set(file, loaded)
}

/** Depth-first search: a file that is already on the path closes a cycle. */
const done = new Set()
function follow(file, way) {
  if (way.includes(file)) {
    faults.push(`a circle: ${[...way.slice(way.indexOf(file)), file].map((one) => relative(src, one)).join(' -> ')}`)
    return
  }
  if (done.has(file)) return
  for (const next of loads.get(file) ?? []) follow(next, [...way, file])
  done.add(file)
}
for (const file of loads.keys()) follow(file, [])

if (faults.length > 0) {
  console.error(`the structure of src/ is broken:\n  ${faults.join('\n  ')}`)
  process.exit(1)
}
