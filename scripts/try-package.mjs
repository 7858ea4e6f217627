// Packs the package as for publishing, checks its contents, and runs it in a fresh project installed without install scripts.
//   npm run try-package
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startSink } from '../bench/support/sink.mjs'
import { startDevServer } from '../dist-dev/dev-server/index.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'softbounce-package-'))
const say = (text) => console.log(text)
const run = (command, args, options = {}) =>
  execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'], ...options })

/** Files that the package may contain; any other file is an error. */
const WANTED = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/,
  /^docs\/[\w./-]+\.(md|json|png|svg|yaml)$/,
  /^deploy\/[\w.-]+\.yaml$/,
  /^examples\/\w+\.py$/,
  /^monitoring\/[\w./-]+\.(yml|json)$/,
  /^dist\/(?!demo\/)[\w./-]+\.(js|js\.map|d\.ts|schema\.json|LICENSE)$/,
]
const NEEDED = [
  'dist/cli/main.js',
  'dist/workflow-bundle.js',
  'dist/workflow-bundle-traced.js',
  'dist/client/index.d.ts',
  'docs/settings.md',
]

/** A minimal program of a user: one bounce, retried. */
const PROGRAM = `
import { fromEnvironment, SoftbounceClient } from 'softbounce'
import { TASK_QUEUE } from 'softbounce/worker'
import { routes } from '../bench/support/routes.mjs'
const client = await SoftbounceClient.connect(fromEnvironment())
const message = 'From: shop@example.com\\r\\nTo: ann@example.org\\r\\nMessage-ID: <m1@example.com>\\r\\n\\r\\nhello\\r\\n'
const bounce = { sender: 'shop@example.com', recipient: 'ann@example.org', status: '4.3.2', bouncedAt: new Date().toISOString() }
const { result } = await client.retry(message, bounce, { schedule: ['1s'] })
const { outcome } = await result()
await client.close()
console.log(TASK_QUEUE, outcome)
`

const running = []
try {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root }))
  const files = packed.files.map(({ path }) => path)
  const strange = files.filter((path) => !WANTED.some((wanted) => wanted.test(path)))
  const missing = NEEDED.filter((path) => !files.includes(path))
  if (strange.length > 0 || missing.length > 0)
    throw new Error(`the package holds ${strange.join(', ') || 'nothing strange'}, and misses ${missing.join(', ') || 'nothing'}`)
  say(
    `${packed.filename}: ${files.length} files, ${(packed.size / 1e6).toFixed(1)} MB packed, ${(packed.unpackedSize / 1e6).toFixed(1)} MB unpacked`,
  )

  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'fresh', private: true, type: 'module' }))
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename)])
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const command = join(folder, 'node_modules/.bin/softbounce')
  const told = run(command, ['--version']).trim()
  if (told !== version) throw new Error(`softbounce --version says ${told} in place of ${version}`)
  // every export can be imported
  for (const entry of Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports)) {
    const name = `softbounce${entry.slice(1)}`
    if (!/bundle|workflows/.test(name)) run(process.execPath, ['-e', `import(${JSON.stringify(name)})`])
  }

  const sink = await startSink()
  running.push(() => sink.close())
  const temporal = await startDevServer({ say })
  running.push(() => temporal.stop())
  const env = {
    ...process.env,
    ...{
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'),
      XDG_STATE_HOME: folder,
      SOFTBOUNCE_ROUTES: routes({ '*': sink.port }),
    },
  }
  const worker = spawn(command, ['worker'], { cwd: folder, env, stdio: 'ignore' })
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  running.push(async () => {
    worker.kill('SIGTERM')
    await ended
  })
  writeFileSync(join(folder, 'main.js'), PROGRAM)
  // not execFileSync, which would block the sink in this process
  const program = spawn(process.execPath, ['main.js'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  program.stdout.on('data', (chunk) => {
    output += chunk
  })
  await new Promise((resolve) => program.once('close', resolve))
  if (output.trim() !== 'softbounce delivered' || sink.taken.length !== 1)
    throw new Error(`a fresh project ended with "${output.trim()}" and ${sink.taken.length} messages taken`)
  say('a fresh project installed it without install scripts, and a bounced message was delivered')
} finally {
  for (const stop of running.reverse()) await stop()
  rmSync(folder, { recursive: true, force: true })
}
