// Compiles src/ into dist/ and dev/ into dist-dev/, and bundles the workflows, so that a worker starts without building anything.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const typescript = createRequire(import.meta.url).resolve('typescript/package.json')

const compile = (project) => execFileSync(process.execPath, [join(dirname(typescript), 'bin', 'tsc'), '-p', project], { stdio: 'inherit' })

for (const folder of ['dist', 'dist-dev']) rmSync(join(root, folder), { recursive: true, force: true })
compile(root)
// the demo and the dev server (not shipped) import what was just built
if (existsSync(join(root, 'dev'))) compile(join(root, 'dev'))
const { jsonSchema } = await import(pathToFileURL(join(dist, 'config', 'index.js')).href)
writeFileSync(join(dist, 'softbounce.schema.json'), `${JSON.stringify(jsonSchema(), null, 2)}\n`)
chmodSync(join(dist, 'cli', 'main.js'), 0o755)
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
  writeFileSync(join(dist, `${name}.tmp`), code)
  renameSync(join(dist, `${name}.tmp`), join(dist, `${name}.js`))
}
