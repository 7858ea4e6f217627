// Permits: 8 processes send to one receiving system for 60 s; its own log is checked against the rate limit, on both databases.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { startPostgres } from './support/postgres.mjs'
import { mostIn, startSink } from './support/sink.mjs'

const PROCESSES = 8
const EACH = 10
const SECONDS = Number(process.env.BENCH_PERMITS_SECONDS ?? 60)
const RATE = 20
const CONNECTIONS = 3
/** Time the sink takes per message: long enough to need about as many connections as the limit allows. */
const SLOW_MS = Number(process.env.BENCH_PERMITS_SLOW_MS ?? 130)
const WINDOWS_MS = [1000, 2000, 5000, 10_000]
const taker = fileURLToPath(new URL('./support/permit-process.mjs', import.meta.url))

async function run(kind, url) {
  const database = openDatabase({ url: url })
  await migrateToLatest(database)
  const sink = await startSink({ slowMs: SLOW_MS })
  const limits = { minMessageRate: RATE, maxMessageRate: RATE, connections: CONNECTIONS, maxDeliveriesPerConnection: 1 }
  const order = JSON.stringify({ url, port: sink.port, at: EACH, forMs: SECONDS * 1000, limits, name: 'example.org' })
  const counts = await Promise.all(
    Array.from({ length: PROCESSES }, () => {
      const child = fork(taker, [order])
      return new Promise((resolve, reject) => {
        child.once('message', resolve)
        child.once('exit', (code) => code !== 0 && reject(new Error(`a process ended with ${code}`)))
      })
    }),
  )
  await sink.close()
  await database.close()
  const sum = (key) => counts.reduce((total, count) => total + count[key], 0)
  const above = WINDOWS_MS.filter((ms) => mostIn(sink.mails, ms) > (RATE * ms) / 1000)
  if (above.length > 0 || sink.mostOpen > CONNECTIONS)
    throw new Error(
      `above the setting: ${WINDOWS_MS.map((ms) => `${mostIn(sink.mails, ms)} in ${ms} ms`).join(', ')}; ${sink.mostOpen} connections`,
    )
  return {
    database: kind,
    processes: PROCESSES,
    seconds: SECONDS,
    'messages taken': sink.taken.length,
    'of the setting': (sink.taken.length / (RATE * SECONDS)).toFixed(2),
    ...Object.fromEntries(WINDOWS_MS.map((ms) => [`most in ${ms / 1000} s (${(RATE * ms) / 1000})`, mostIn(sink.mails, ms)])),
    [`most connections (${CONNECTIONS})`]: sink.mostOpen,
    'look-ups each': (sum('polls') / sum('sent')).toFixed(1),
    errors: sum('errors'),
  }
}

export async function permits() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const postgres = await startPostgres()
  try {
    return [
      await run('SQLite', `file:${join(folder, 'softbounce.db')}`),
      ...(postgres === null ? [] : [await run('PostgreSQL', postgres.url)]),
    ]
  } finally {
    await postgres?.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
