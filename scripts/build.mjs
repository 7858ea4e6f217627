// Compiles src/ into dist/ and dev/ into dist-dev/, and bundles the workflows, so that a worker starts without building anything.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const typescript = createRequire(import.meta.url).resolve('typescript/package.json')

const compile = (project) => execFileSync(process.execPath, [join(dirname(typescript), 'bin', 'tsc'), '-p', project], { stdio: 'inherit' })

for (const folder of ['dist', 'dist-dev']) rmSync(join(root, folder), { recursive: true, force: true })
compile(root)
// the demo and the dev server (not shipped) import what was just built
if (existsSync(join(root, 'dev'))) compile(join(root, 'dev'))
const quiet = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning' }
// the report's part of ECharts, so that users need not install it
const echarts = join(dist, 'report', 'echarts.js')
await build({
  ...quiet,
  entryPoints: [echarts],
  outfile: echarts,
  allowOverwrite: true,
  format: 'esm',
  minify: true,
  legalComments: 'inline',
})
rmSync(join(dist, 'report', 'echarts.d.ts'))
// for require(), also where a runtime cannot require ES modules (Jest)
const entries = {
  index: 'client/index',
  track: 'track',
  plugin: 'plugin',
  worker: 'worker',
  activities: 'activities/index',
  nexus: 'nexus/index',
}
await build({
  ...{ ...quiet, packages: 'external', format: 'cjs', outdir: dist, outExtension: { '.js': '.cjs' } },
  entryPoints: Object.entries(entries).map(([out, path]) => ({ out, in: join(dist, `${path}.js`) })),
  // the bundles stand where worker.js and paths.js do
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href" },
})
// the same types, as those of CommonJS modules
const types = join(dist, 'cjs')
for (const path of readdirSync(dist, { recursive: true }).filter((path) => path.endsWith('.d.ts'))) {
  mkdirSync(dirname(join(types, path)), { recursive: true })
  cpSync(join(dist, path), join(types, path))
}
writeFileSync(join(types, 'package.json'), '{ "type": "commonjs" }\n')
const { jsonSchema } = await import(pathToFileURL(join(dist, 'config', 'index.js')).href)
writeFileSync(join(dist, 'softbounce.schema.json'), `${JSON.stringify(jsonSchema(), null, 2)}\n`)
chmodSync(join(dist, 'cli', 'main.js'), 0o755)
/** The bundle with its source map, which Temporal's worker requires, but without the sources in it. */
const withoutSources = (code) =>
  code.replace(/(sourceMappingURL=data:application\/json[^,]*base64,)([A-Za-z0-9+/=]+)/, (_, head, base64) => {
    const { sourcesContent: _sources, ...map } = JSON.parse(Buffer.from(base64, 'base64').toString('utf8'))
    return head + Buffer.from(JSON.stringify(map)).toString('base64')
  })
const tracing = createRequire(import.meta.url).resolve('@temporalio/interceptors-opentelemetry/lib/workflow-interceptors')
for (const [name, workflowInterceptorModules] of [
  ['workflow-bundle', []],
  // with OpenTelemetry's interceptors, for workers that trace
  ['workflow-bundle-traced', [tracing]],
]) {
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(dist, 'workflows', 'index.js'),
    payloadConverterPath: join(dist, 'workflows', 'payload-converter.js'),
    failureConverterPath: join(dist, 'workflows', 'failure-converter.js'),
    workflowInterceptorModules,
    // concatenate our modules: a worker evaluates each module again for every workflow it loads
    webpackConfigHook: (config) => ({
      ...config,
      optimization: { ...config.optimization, concatenateModules: true, usedExports: true, providedExports: true, sideEffects: true },
    }),
    logger: new DefaultLogger('WARN'),
  })
  writeFileSync(join(dist, `${name}.tmp`), withoutSources(code))
  renameSync(join(dist, `${name}.tmp`), join(dist, `${name}.js`))
}
