// Imports between the folders of src/ go one way. Each folder (or file at the top) names what it may import; types count too.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../src', import.meta.url))

/** May import; `type:` where only types may be imported. */
const MAY = {
  bounce: [],
  throttle: ['bounce'],
  dsn: ['bounce'],
  smtp: ['bounce'],
  providers: ['bounce', 'dsn'],
  store: ['bounce', 'throttle'],
  figures: ['bounce', 'store'],
  report: ['bounce', 'figures'],
  metrics: ['bounce', 'store'],
  settings: ['bounce', 'throttle', 'providers', 'smtp'],
  encryption: ['bounce', 'type:settings', 'workflows'],
  'config.ts': ['bounce', 'throttle', 'type:providers', 'smtp', 'store', 'settings'],
  activities: ['dsn', 'providers', 'smtp', 'store', 'throttle', 'bounce', 'encryption', 'type:config.ts', 'type:metrics'],
  workflows: ['bounce', 'type:activities'],
  'logger.ts': [],
  'tracing.ts': [],
  'namespace.ts': ['type:activities'],
  'worker.ts': ['activities', 'encryption', 'config.ts', 'logger.ts', 'metrics', 'namespace.ts', 'smtp', 'store', 'tracing.ts'],
  'plugin.ts': ['activities', 'encryption', 'smtp', 'config.ts', 'logger.ts', 'namespace.ts', 'store', 'worker.ts'],
  client: ['bounce', 'encryption', 'throttle', 'providers', 'smtp', 'store', 'dsn', 'config.ts', 'type:workflows', 'tracing.ts'],
  intake: ['type:settings', 'client', 'dsn', 'providers', 'smtp', 'store', 'bounce', 'config.ts', 'logger.ts', 'type:metrics'],
  cli: [
    'client',
    'throttle',
    'intake',
    'logger.ts',
    'bounce',
    'figures',
    'metrics',
    'providers',
    'report',
    'dsn',
    'smtp',
    'store',
    'config.ts',
    'settings',
    'encryption',
    'worker.ts',
    'dev-server',
  ],
  'dev-server': [],
  demo: ['client', 'bounce', 'dsn', 'store', 'dev-server'],
}
/** The sandbox of the workflows has none of these. */
const WORKFLOW_PACKAGES = ['@temporalio/workflow', '@temporalio/common']

/** `import … from '…'`, `export … from '…'`, `import '…'`: the clause, and what is imported. */
const STATEMENT = /^(?:import|export)\s+(?:((?:type\s+)?(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?|\w+(?:\s*,\s*\{[^}]*\})?))\s+from\s+)?'([^']+)'/gm

/** `import('…')` */
const DYNAMIC = /\bimport\(()'([^']+)'\)/g

const faults = []
for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
  const file = join(entry.parentPath, entry.name)
  const from = relative(src, file).split('/')[0]
  const text = readFileSync(file, 'utf8')
  for (const [, clause, specifier] of [...text.matchAll(STATEMENT), ...text.matchAll(DYNAMIC)]) {
    const where = `src/${relative(src, file)}: ${specifier}`
    if (!specifier.startsWith('.')) {
      if (from === 'bounce' || from === 'throttle') faults.push(`${where} (src/${from} is pure)`)
      if (from === 'workflows' && !WORKFLOW_PACKAGES.includes(specifier)) faults.push(`${where} (not in the workflows' sandbox)`)
      continue
    }
    const to = relative(src, resolve(dirname(file), specifier.replace(/\.js$/, '.ts'))).split('/')[0]
    if (to === from) continue
    const onlyTypes = /^\s*(?:type\s|\*\sas\stype)/.test(clause ?? '')
    const may = MAY[from] ?? []
    if (!may.includes(to) && !(onlyTypes && may.includes(`type:${to}`))) faults.push(`${where} (${from} may not import ${to})`)
  }
}
if (faults.length > 0) {
  console.error(`imports that go the wrong way:\n  ${faults.join('\n  ')}`)
  process.exit(1)
}
