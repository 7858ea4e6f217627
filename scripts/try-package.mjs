// Packs the package as for publishing, checks its contents, and uses it in fresh projects as its users would: an application that only
// tracks, and one with a worker; ES modules, CommonJS, strict types. Prints their sizes, and fails beyond the limits.
//   npm run try-package
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { routes } from '../bench/support/routes.mjs'
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
  /^deploy\/(temporal\/)?[\w.-]+\.(yaml|sh)$/,
  /^examples\/[\w.-]+\.(py|mjs|md)$/,
  /^monitoring\/[\w./-]+\.(yml|json)$/,
  /^dist\/(?!demo\/)[\w./-]+\.(js|cjs|js\.map|d\.ts|schema\.json|LICENSE)$/,
  /^dist\/cjs\/package\.json$/,
]
const NEEDED = [
  ...['dist/cli/main.js', 'dist/workflow-bundle.js', 'dist/workflow-bundle-traced.js', 'dist/client/index.d.ts', 'dist/track.cjs'],
  ...['docs/settings.md', 'dist/softbounce.schema.json', 'dist/cjs/track.d.ts'],
]
/** Most MB and packages of `node_modules`. The Temporal SDK alone is 265 MB. */
const LIMITS = { tracking: { mb: 60, packages: 90 }, worker: { mb: 300, packages: 400 } }
const TEMPORAL = ['worker', 'client', 'workflow', 'activity', 'common', 'envconfig'].map((name) => `@temporalio/${name}`)

function sizeOf(path) {
  let bytes = 0
  let packages = 0
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    bytes += statSync(join(entry.parentPath, entry.name)).size
    if (entry.name === 'package.json' && /node_modules\/(@[^/]+\/)?[^/]+$/.test(entry.parentPath)) packages += 1
  }
  return { mb: Math.round(bytes / 1e6), packages }
}

/** A fresh project with these packages. */
function project(name, packages) {
  const path = join(folder, name)
  mkdirSync(path)
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }))
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', ...packages], { cwd: path })
  return path
}

function checkSize(name, path) {
  const size = sizeOf(join(path, 'node_modules'))
  const most = LIMITS[name]
  say(`${name}: ${size.mb} MB, ${size.packages} packages (at most ${most.mb} and ${most.packages})`)
  if (size.mb > most.mb || size.packages > most.packages) throw new Error(`an application for ${name} is too large`)
}

const TRACKING = `
const assert = require('node:assert')
const nodemailer = require('nodemailer')
const { track, TrackError, fromEnvironment } = require('softbounce/track')
assert.throws(() => track(nodemailer.createTransport({ host: '127.0.0.1' }), {}), TrackError)
const transporter = track(nodemailer.createTransport({ host: '127.0.0.1' }), { returnPath: { keys: [Buffer.alloc(32, 1).toString('base64')] } })
transporter.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'x' }).catch((error) => {
  assert.equal(error.code, 'EDATABASE')
  assert.match(error.message, /start a worker/)
  console.log('tracking', typeof fromEnvironment, Object.keys(require.cache).filter((path) => path.includes('@temporalio')).length)
})
`

/** Strict, without skipLibCheck: a program of a user in both kinds of modules. */
const TYPED = `
import { fromEnvironment, track, type TrackedInfo } from 'softbounce/track'
import * as nodemailer from 'nodemailer'
export const transporter = track(nodemailer.createTransport('smtp://127.0.0.1'), { ...fromEnvironment(), retryRefused: true })
export async function send(): Promise<TrackedInfo['pending']> {
  const info = await transporter.sendMail({ from: 'a@example.com', to: 'b@example.org', softbounce: { urgent: true } })
  return info.pending
}
`
const TYPES = [
  ['es.mts', { module: 'NodeNext' }],
  ['cjs.cts', { module: 'NodeNext' }],
  ['classic.ts', { module: 'CommonJS', moduleResolution: 'Bundler' }],
]

/** One bounce, retried by the client. */
const RETRIED = `
import { fromEnvironment, SoftbounceClient } from 'softbounce'
import { TASK_QUEUE } from 'softbounce/worker'
const client = await SoftbounceClient.connect(fromEnvironment())
const message = 'From: shop@example.com\\r\\nTo: ann@example.org\\r\\nMessage-ID: <m1@example.com>\\r\\n\\r\\nhello\\r\\n'
const bounce = { sender: 'shop@example.com', recipient: 'ann@example.org', status: '4.3.2', bouncedAt: new Date().toISOString() }
const { result } = await client.retry(message, bounce, { schedule: ['1s'] })
const { outcome } = await result()
await client.close()
console.log(TASK_QUEUE, outcome)
`

/** A worker of a team, in CommonJS, with the plugin beside it. */
const PLUGIN = `
const { NativeConnection, Worker } = require('@temporalio/worker')
const { softbouncePlugin } = require('softbounce/plugin')
const { fromEnvironment, SoftbounceClient } = require('softbounce')
;(async () => {
  const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS })
  const plugins = [await softbouncePlugin({ connection, ...fromEnvironment(), log: { level: 'warn' } })]
  const worker = await Worker.create({ connection, taskQueue: 'theirs', activities: { theirs: async () => 1 }, plugins })
  await worker.runUntil(async () => {
    const client = await SoftbounceClient.connect(fromEnvironment())
    const message = 'From: shop@example.com\\r\\nTo: bob@example.org\\r\\nMessage-ID: <m2@example.com>\\r\\n\\r\\nhello\\r\\n'
    const bounce = { sender: 'shop@example.com', recipient: 'bob@example.org', status: '4.3.2', bouncedAt: new Date().toISOString() }
    const { result } = await client.retry(message, bounce, { schedule: ['1s'] })
    console.log('plugin', (await result()).outcome)
    await client.close()
  })
  await connection.close()
})()
`

/** A test of a user in Jest, whose modules are CommonJS. */
const JEST = `
const nodemailer = require('nodemailer')
const { SoftbounceClient, track } = require('softbounce')
const { softbouncePlugin } = require('softbounce/plugin')

test('an application sends with track', async () => {
  const transporter = track(nodemailer.createTransport({ jsonTransport: true }), { returnPath: { keys: [Buffer.alloc(32, 1).toString('base64')] } })
  const sent = transporter.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'x' })
  await expect(sent).rejects.toMatchObject({ code: 'EDATABASE' })
  transporter.close()
})

test('client and plugin are there', () => expect([typeof SoftbounceClient.connect, typeof softbouncePlugin]).toEqual(['function', 'function']))
`

/** The workflows in a bundle of a user: it must be made without a warning. */
const BUNDLE = `
import { bundleWorkflowCode } from '@temporalio/worker'
const lines = []
const log = (level) => (text) => level === 'info' || level === 'debug' ? undefined : lines.push(text)
const logger = { log: (level, text) => log(level.toLowerCase())(text), ...Object.fromEntries(['trace', 'debug', 'info', 'warn', 'error'].map((level) => [level, log(level)])) }
const { code } = await bundleWorkflowCode({ workflowsPath: new URL('./workflows.js', import.meta.url).pathname, logger })
console.log('bundle', code.includes('retryBouncedMessage'), lines.length, lines.join(' ').slice(0, 500))
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
  const tarball = join(folder, packed.filename)
  const { version, exports, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

  // an application that only tracks
  const tracking = project('tracking', ['nodemailer', tarball])
  checkSize('tracking', tracking)
  const clean = { PATH: process.env.PATH, HOME: folder }
  writeFileSync(join(tracking, 'main.cjs'), TRACKING)
  const tracked = run(process.execPath, ['main.cjs'], { cwd: tracking, env: clean }).trim()
  if (tracked !== 'tracking function 0') throw new Error(`an application that tracks printed "${tracked}"`)
  run(process.execPath, ['--input-type=module', '-e', "import 'softbounce/track'"], { cwd: tracking, env: clean })
  // the command says what is missing
  const lacking = spawn(join(tracking, 'node_modules/.bin/softbounce'), ['worker'], {
    cwd: tracking,
    env: { ...clean, SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:9' },
  })
  let said = ''
  lacking.stderr.on('data', (chunk) => {
    said += chunk
  })
  await new Promise((resolve) => lacking.once('close', resolve))
  if (!/npm install @temporalio/.test(said)) throw new Error(`without Temporal's packages, softbounce worker says "${said.trim()}"`)
  const told = run(join(tracking, 'node_modules/.bin/softbounce'), ['--version'], { cwd: tracking, env: clean }).trim()
  if (told !== version) throw new Error(`softbounce --version says ${told} instead of ${version}`)
  // strict types, without skipLibCheck; TypeScript is installed after the size was taken
  run(
    'npm',
    [
      'install',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      `typescript@${devDependencies.typescript}`,
      '@types/node@20',
      '@types/nodemailer',
    ],
    { cwd: tracking },
  )
  for (const [name, options] of TYPES) {
    writeFileSync(join(tracking, name), TYPED)
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      target: 'ES2022',
      lib: ['ES2023', 'ESNext.Disposable'],
      types: ['node'],
      ...options,
    }
    writeFileSync(join(tracking, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [name] }))
    run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: tracking, stdio: ['pipe', 'inherit', 'inherit'] })
  }
  say('it tracks from CommonJS and from ES modules, without Temporal; its types are strict without skipLibCheck')

  // an application with a worker
  const path = project('worker', [...TEMPORAL.map((name) => `${name}@${devDependencies[name]}`), tarball])
  checkSize('worker', path)
  if (readdirSync(join(path, 'node_modules/softbounce')).includes('node_modules')) throw new Error('softbounce has packages of its own')
  // every export can be imported, and required
  for (const [entry, target] of Object.entries(exports)) {
    const name = `softbounce${entry.slice(1)}`
    if (/bundle|workflows|json/.test(name)) continue
    run(process.execPath, ['--input-type=module', '-e', `import ${JSON.stringify(name)}`], { cwd: path })
    if (target.require !== undefined) run(process.execPath, ['-e', `require(${JSON.stringify(name)})`], { cwd: path })
  }
  writeFileSync(join(path, 'workflows.js'), "export * from 'softbounce/workflows'\nexport async function theirs() {}\n")
  writeFileSync(join(path, 'bundle.js'), BUNDLE)
  const bundled = run(process.execPath, ['bundle.js'], { cwd: path }).trim()
  if (bundled !== 'bundle true 0') throw new Error(`the workflows in a bundle of a user: "${bundled}"`)

  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', 'jest@30'], { cwd: path })
  writeFileSync(join(path, 'user.test.cjs'), JEST)
  run(join(path, 'node_modules/.bin/jest'), ['--testMatch', '**/user.test.cjs'], {
    cwd: path,
    env: clean,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  say('its tests run in Jest')

  const sink = await startSink()
  running.push(() => sink.close())
  const temporal = await startDevServer({ say })
  running.push(() => temporal.stop())
  const env = {
    ...process.env,
    ...{ TEMPORAL_ADDRESS: temporal.address, TEMPORAL_CONFIG_FILE: join(folder, 'none.toml') },
    ...{ SOFTBOUNCE_ROUTES: routes({ '*': sink.port }), XDG_STATE_HOME: folder, XDG_CONFIG_HOME: folder },
  }
  /** Not execFileSync, which would block the sink in this process. */
  const printed = async (file, content) => {
    writeFileSync(join(path, file), content)
    const program = spawn(process.execPath, [file], { cwd: path, env, stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    program.stdout.on('data', (chunk) => {
      output += chunk
    })
    await new Promise((resolve) => program.once('close', resolve))
    return output.trim()
  }
  const worker = spawn(join(path, 'node_modules/.bin/softbounce'), ['worker'], { cwd: path, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  const ready = new Promise((resolve) => worker.stdout.on('data', (chunk) => /the worker is ready/.test(chunk) && resolve()))
  running.push(async () => {
    worker.kill('SIGTERM')
    await ended
  })
  await Promise.race([ready, ended])
  const retried = await printed('main.js', RETRIED)
  if (retried !== 'softbounce delivered' || sink.taken.length !== 1)
    throw new Error(`a fresh project ended with "${retried}" and ${sink.taken.length} messages taken`)
  worker.kill('SIGTERM')
  await ended
  const plugged = await printed('plugin.cjs', PLUGIN)
  if (plugged.split('\n').at(-1) !== 'plugin delivered') throw new Error(`the plugin beside a worker ended with "${plugged}"`)
  say(
    'a fresh project installed it without install scripts; the command’s worker, and the plugin beside a worker of another queue, delivered',
  )
} finally {
  for (const stop of running.reverse()) await stop()
  rmSync(folder, { recursive: true, force: true })
}
