// The power is cut again and again while messages are sent: nothing that was answered may be forgotten, and nothing sent twice beyond the reply
// in flight. SQLite: the process is killed, and its files lose what was not synced (disk.c). PostgreSQL: it stops as if it had crashed.
//   npm run chaos -- --power-cuts 500 --database sqlite --seed 1
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startSink } from '../bench/support/sink.mjs'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { forgotten, recipientOf } from './answered.mjs'
import { compileDisk, Disk } from './disk.mjs'
import { randomOf } from './random.mjs'
import { ownFolder, startDatabase } from './world.mjs'

const { values: args } = parseArgs({
  options: {
    'power-cuts': { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    database: { type: 'string', default: 'sqlite' },
    quiet: { type: 'boolean', default: false },
  },
})
const CUTS = Number(args['power-cuts'])
const SEED = Number(args.seed)
const random = randomOf(SEED)
const say = (text) => args.quiet || process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${text}\n`)

/** Sends without an answer, at which no power is cut until they have one. */
const MOST_OPEN = 60

const folder = ownFolder(400)
const database = await startDatabase(args.database, folder)
if (database === null) {
  process.stderr.write('PostgreSQL (initdb) is not installed\n')
  process.exit(2)
}
const isFile = database.port === null
const library = isFile ? compileDisk(folder.path) : null
if (isFile && library === null) {
  process.stderr.write('a C compiler (cc) is not installed\n')
  process.exit(2)
}
const disk = isFile ? new Disk(folder.data, join(folder.path, 'journal'), library) : null
// SQLite: only processes under the failing disk open the file
const store = isFile ? null : openDatabase({ url: database.url })
if (store !== null) await migrateToLatest(store)

const sink = await startSink({ slowMs: 3 })
const nothing = () => ({ stored: [], answered: [], kept: [], suppressed: [] })
/** What has been answered, by kind: in all, and since the last check. */
const all = nothing()
let fresh = nothing()
/** Recipient -> when Temporal would have the reply. */
const replied = new Map()
/** Sends without an answer, with what Temporal would know of them. */
const open = new Map()
let next = 0
const cuts = []
const findings = []

class Victim {
  constructor() {
    this.child = spawn(process.execPath, [fileURLToPath(new URL('victim.mjs', import.meta.url))], {
      env: { ...process.env, ...disk?.env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.stdin.on('error', () => {})
    this.loaded = new Promise((resolve) => {
      this.ready = new Promise((started) => {
        createInterface({ input: this.child.stdout }).on('line', (line) => {
          if (!line.endsWith(' .')) return
          const [word, i, ...rest] = line.slice(0, -2).split(' ')
          if (word === 'loaded') resolve()
          else if (word === 'ready') started()
          else if (word === 'found') findings.push(`after cut ${cuts.length}: ${[i, ...rest].join(' ')}`)
          else apply(word, Number(i), rest.join(' '))
        })
      })
    })
  }

  /** @param check what it compares with the database first. */
  async start(check, isFresh = true) {
    await this.loaded
    const unanswered = [...open].map(([i, earlier]) => ({ i, ...earlier }))
    this.child.stdin.write(`${JSON.stringify({ url: database.url, port: sink.port, unanswered, next, fresh: isFresh, check })}\n`)
    await this.ready
  }

  stop() {
    this.child.stdin.write('stop\n')
  }

  async kill() {
    this.child.kill('SIGKILL')
    await this.ended
    // what it had said is still to be read
    await new Promise((resolve) => (this.child.stdout.readableEnded ? resolve() : this.child.stdout.once('close', resolve)))
  }
}

function apply(word, i, rest) {
  if (word === 'began') {
    open.set(i, { attempt: 0 })
    next = Math.max(next, i + 1)
  } else if (word === 'heartbeat') {
    const details = JSON.parse(rest)
    if (details !== null) {
      open.get(i).heartbeat = details
      replied.set(recipientOf(i), Date.now())
    }
  } else {
    if (word === 'answered') open.delete(i)
    const one = word === 'stored' || word === 'answered' ? [i, rest] : i
    all[word]?.push(one)
    fresh[word]?.push(one)
  }
}

/** The server may not accept connections yet. */
async function untilUp(step) {
  for (let tries = 0; ; tries += 1)
    try {
      return await step()
    } catch (error) {
      if (tries > 100) throw error
      await sleep(50)
    }
}

say(`${CUTS} power cuts, seed ${SEED}, ${args.database}`)
const began = Date.now()
let lost = 0
let victim = new Victim()
await victim.start(nothing())
for (let n = 1; n <= CUTS; n += 1) {
  // claims of killed processes have to expire: without a rest ever more sends would wait for that
  if (open.size > MOST_OPEN) {
    victim.stop()
    while (open.size > 0) await sleep(20)
    await victim.ended
    victim = new Victim()
    await victim.start(fresh)
    fresh = nothing()
  }
  // its successor loads meanwhile
  const successor = isFile ? new Victim() : null
  await sleep(random.between(50, isFile ? 600 : 1500))
  cuts.push(Date.now())
  if (isFile) {
    await victim.kill()
    lost += disk.cut(random)
    victim = successor
    const check = fresh
    fresh = nothing()
    await victim.start(check)
  } else {
    await database.stop()
    await sleep(random.between(0, 300))
    await database.start()
    const check = fresh
    fresh = nothing()
    for (const text of await untilUp(() => forgotten(store, check))) findings.push(`after cut ${n}: ${text}`)
  }
  if (n % 25 === 0) say(`${n} cuts, ${all.answered.length} answered, ${open.size} open, ${findings.length} findings`)
}
// calm: everything that is open is answered
victim.stop()
await victim.ended
while (open.size > 0) {
  victim = new Victim()
  await victim.start(nothing(), false)
  victim.stop()
  await victim.ended
}
// once more, all of it
victim = new Victim()
await victim.start(all, false)
victim.stop()
await victim.ended
const times = new Map()
for (const { to, at } of sink.taken) times.set(to, [...(times.get(to) ?? []), at])
let twice = 0
for (const [to, at] of times)
  for (const again of at.slice(1)) {
    twice += 1
    if (again > (replied.get(to) ?? Number.POSITIVE_INFINITY)) findings.push(`${to} was sent again, and its reply was known to Temporal`)
  }
for (let i = 0; i < next; i += 1) {
  const to = recipientOf(i)
  if (!times.has(to)) findings.push(`${to} counts as answered, and was never sent`)
}
const summary = {
  seed: SEED,
  database: args.database,
  'power cuts': CUTS,
  seconds: Math.round((Date.now() - began) / 1000),
  messages: next,
  'answers checked': Object.values(all).reduce((sum, list) => sum + list.length, 0),
  ...(isFile ? { 'KiB lost': Math.round(lost / 1024), syncs: disk.syncs } : {}),
  'sent twice, reply in flight': twice,
  findings: findings.length,
}
process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`)
for (const text of findings.slice(0, 30)) process.stdout.write(`${text}\n`)
await sink.close()
await store?.close()
await database.remove()
folder.remove()
process.exit(findings.length > 0 ? 1 : 0)
