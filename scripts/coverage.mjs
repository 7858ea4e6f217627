// Branch coverage by folder, including workflows: they run in Temporal's sandbox, from an instrumented bundle.
// Processes that tests start (the command, workers) are not counted. Arguments are passed to vitest.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WorkflowCoverage } from '@temporalio/nyc-test-coverage'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import coverage from 'istanbul-lib-coverage'

const FOLDERS = ['bounce', 'workflows', 'delivery', 'throttle', 'suppression', 'store']
const LEAST = 95

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'coverage')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
run(process.execPath, [join(root, 'scripts/build.mjs')])

// the library requires this global from the start
globalThis.__coverage__ = {}
const workflows = join(root, 'dist/workflows')
const { code } = await bundleWorkflowCode(
  new WorkflowCoverage().augmentBundleOptions({
    workflowsPath: join(workflows, 'index.js'),
    payloadConverterPath: join(workflows, 'payload-converter.js'),
    failureConverterPath: join(workflows, 'failure-converter.js'),
    logger: new DefaultLogger('WARN'),
  }),
)
writeFileSync(join(folder, 'workflow-bundle.js'), code)

const seen = FOLDERS.filter((name) => name !== 'workflows').map((name) => `--coverage.include=src/${name}/**`)
const status = run(
  process.execPath,
  [
    ...[join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--coverage.enabled', '--coverage.provider=v8', '--coverage.reporter=json'],
    ...['--coverage.clean=false', '--coverage.reportOnFailure', '--testTimeout=120000', ...seen, ...process.argv.slice(2)],
  ],
  { TEST_COVERAGE: folder, TEST_SUITE: 'all' },
)

const map = coverage.createCoverageMap(JSON.parse(readFileSync(join(folder, 'coverage-final.json'), 'utf8')))
for (const name of readdirSync(folder).filter((one) => one.startsWith('workflows-')))
  map.merge(JSON.parse(readFileSync(join(folder, name), 'utf8')))
const files = map
  .files()
  .map((file) => ({ file: relative(root, file).replace(/^dist/, 'src'), branches: map.fileCoverageFor(file).toSummary().branches }))
let fails = status !== 0
for (const name of FOLDERS) {
  const mine = files.filter(({ file }) => file.startsWith(`src/${name}/`) && (name === 'workflows') === file.endsWith('.js'))
  const [covered, total] = ['covered', 'total'].map((key) => mine.reduce((sum, { branches }) => sum + branches[key], 0))
  const percent = (100 * covered) / total
  fails ||= !(percent >= LEAST)
  console.log(`src/${name}: ${percent.toFixed(1)} % of ${total} branches`)
  for (const { file, branches } of mine.filter(({ branches }) => branches.pct < LEAST).sort((a, b) => a.branches.pct - b.branches.pct))
    console.log(`  ${file}: ${branches.pct} %, ${branches.total - branches.covered} of ${branches.total} not taken`)
}
process.exitCode = fails ? 1 : 0

function run(program, args, env = {}) {
  return spawnSync(program, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } }).status
}
