// Runs the steps of the Dockerfile without Docker: its COPY and RUN in a clean folder, then its entry point as a non-root user in a clean
// environment. It uses this machine's Node instead of the base image.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort, startDevServer } from '../dist-dev/dev-server/index.js'

const root = fileURLToPath(new URL('..', import.meta.url))
/** The user `node` of the base image. */
const UID = 1000
const isRoot = userInfo().uid === 0
/** By name; the final stage is unnamed, and stored as `image`. Each is `{ folder, workdir, env, user, entrypoint, command, healthcheck }`. */
const stages = new Map()
const folder = mkdtempSync(join(tmpdir(), 'softbounce-image-'))
chmodSync(folder, 0o755)

/** The instructions, each with its continued lines. */
const instructions = readFileSync(join(root, 'Dockerfile'), 'utf8')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => /^(\w+)\s+(.*)$/.exec(line).slice(1))

let stage
const inStage = (path, of = stage) => join(of.folder, path.startsWith('/') ? path : join(of.workdir, path))

const STEPS = {
  FROM: (text) => {
    const [, name] = / AS (\w+)$/.exec(text) ?? [null, 'image']
    stage = { folder: join(folder, name), workdir: '/', env: {}, user: null }
    mkdirSync(stage.folder)
    stages.set(name, stage)
  },
  WORKDIR: (path) => {
    stage.workdir = path
    mkdirSync(inStage('.'), { recursive: true })
  },
  ENV: (text) => {
    const [name, value] = text.split('=')
    stage.env[name] = value
  },
  COPY: (text) => {
    const words = text.split(/\s+/)
    const from = words[0].startsWith('--from=') ? stages.get(words.shift().slice('--from='.length)) : null
    const to = words.pop()
    for (const word of words) {
      const source = from === null ? join(root, word) : inStage(word, from)
      const target = to.endsWith('/') ? join(inStage(to), basename(word)) : inStage(to)
      mkdirSync(dirname(target), { recursive: true })
      cpSync(source, target, { recursive: true, verbatimSymlinks: true })
    }
  },
  RUN: (command) =>
    execFileSync('/bin/sh', ['-c', command], { cwd: inStage('.'), env: environment(), stdio: ['ignore', 'ignore', 'inherit'] }),
  USER: (user) => {
    stage.user = user
  },
  HEALTHCHECK: (text) => {
    stage.healthcheck = JSON.parse(text.slice(text.indexOf('[')))
  },
  ENTRYPOINT: (text) => {
    stage.entrypoint = JSON.parse(text)
  },
  CMD: (text) => {
    stage.command = JSON.parse(text)
  },
}

/** What a build step sees: nothing of this machine but where programs are and how packages are fetched. */
function environment() {
  const kept = Object.entries(process.env).filter(([name]) =>
    /^(PATH|HOME|npm_config_registry|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy)$/i.test(name),
  )
  return { ...Object.fromEntries(kept), npm_config_loglevel: 'error', ...stage.env }
}

/** A command in the image, as its user. */
function inImage(words, env) {
  const [program, ...args] = isRoot ? ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', ...words] : words
  return spawn(program, args, {
    cwd: inStage('.'),
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...stage.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function ended(child) {
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      printed += chunk
    })
  return new Promise((resolve) => child.once('exit', (status) => resolve({ status, printed })))
}

const server = await startDevServer()
let worker
try {
  for (const [name, text] of instructions) {
    if (STEPS[name] === undefined) throw new Error(`the Dockerfile has ${name}, which is not replayed`)
    STEPS[name](text)
  }
  if (stage.user === null || stage.user === 'root') throw new Error('the image runs as root')
  if (existsSync(inStage('src'))) throw new Error('the image holds the sources')
  const data = mkdtempSync(join(folder, 'data-'))
  chmodSync(data, 0o777)
  const env = {
    TEMPORAL_ADDRESS: server.address,
    SOFTBOUNCE_DATABASE_URL: `file:${join(data, 'softbounce.db')}`,
    SOFTBOUNCE_ROUTES: '[{ destination: "*", host: 127.0.0.1, port: 25 }]',
    SOFTBOUNCE_HTTP_PORT: String(await freePort()),
    SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 1).toString('base64'),
  }
  worker = inImage([...stage.entrypoint, ...stage.command], env)
  const end = ended(worker)
  const until = Date.now() + 60_000
  for (;;) {
    const health = await ended(inImage(stage.healthcheck, env))
    if (health.status === 0) break
    if (worker.exitCode === null && Date.now() < until) {
      await sleep(500)
      continue
    }
    worker.kill('SIGKILL')
    throw new Error(`the worker did not become healthy: ${health.status} ${health.printed} ${(await end).printed}`)
  }
  // the startup probe of deploy/kubernetes.yaml
  const doctor = await ended(inImage([...stage.entrypoint, 'doctor'], env))
  if (doctor.status !== 0) throw new Error(`the doctor found a fault: ${doctor.printed}`)
  worker.kill('SIGTERM')
  const { status, printed } = await end
  if (status !== 0) throw new Error(`the worker ended with ${status}: ${printed}`)
  console.log(
    `the Dockerfile's ${instructions.length} steps ran; its worker became healthy as user ${UID}, the doctor found no fault, and it ended`,
  )
} finally {
  worker?.kill('SIGKILL')
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}
