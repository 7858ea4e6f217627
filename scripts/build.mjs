// Compiles src/ into dist/ and bundles the workflows, so that a worker starts without building anything.
import { execFileSync } from 'node:child_process'
import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const typescript = createRequire(import.meta.url).resolve('typescript/package.json')

rmSync(dist, { recursive: true, force: true })
execFileSync(process.execPath, [join(dirname(typescript), 'bin', 'tsc'), '-p', root], { stdio: 'inherit' })
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
    // our modules as one: a worker runs each of them anew for every workflow that it takes up
    webpackConfigHook: (config) => ({
      ...config,
      optimization: { ...config.optimization, concatenateModules: true, usedExports: true, providedExports: true, sideEffects: true },
    }),
    logger: new DefaultLogger('WARN'),
  })
  writeFileSync(join(dist, `${name}.tmp`), code)
  renameSync(join(dist, `${name}.tmp`), join(dist, `${name}.js`))
}
