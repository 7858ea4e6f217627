// The send activity alone: claim, permit, transaction and attempt log, against nodemailer's pool on the same sink, one process each.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startPostgres } from './support/postgres.mjs'
import { startSink } from './support/sink.mjs'

const MESSAGES = Number(process.env.BENCH_SENDS_MESSAGES ?? 3000)
const ROUNDS = Number(process.env.BENCH_SENDS_ROUNDS ?? 3)
const CONNECTIONS = 20
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
const spreadOf = (list) => `${Math.round(Math.min(...list))}–${Math.round(Math.max(...list))}`
const sender = fileURLToPath(new URL('./support/sender.mjs', import.meta.url))

export async function sends() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const postgres = await startPostgres()
  const run = async (kind, url) => {
    const sink = await startSink()
    try {
      const order = JSON.stringify({ kind, url, port: sink.port, messages: MESSAGES, connections: CONNECTIONS })
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', sender, order])
      const { seconds, mib, cpuMs } = JSON.parse(stdout)
      const taken = new Set(sink.taken.map(({ to }) => to)).size
      if (taken !== MESSAGES || sink.taken.length !== MESSAGES)
        throw new Error(`${kind}: ${sink.taken.length} taken, of ${taken} recipients`)
      return { rate: MESSAGES / seconds, mib, cpuMs: cpuMs / MESSAGES, connections: sink.connections.length }
    } finally {
      await sink.close()
    }
  }
  try {
    const rows = []
    const kinds = [['nodemailer’s pool'], ['send activity, SQLite', (round) => `file:${join(folder, `${round}.db`)}`]]
    if (postgres !== null) kinds.push(['send activity, PostgreSQL', () => postgres.url])
    const runs = kinds.map(() => [])
    for (let round = 0; round < ROUNDS; round += 1)
      for (const [i, [kind, url]] of kinds.entries()) runs[i].push(await run(kind, url?.(round)))
    const of = (i, figure) => median(runs[i].map((one) => one[figure]))
    for (const [i, [kind]] of kinds.entries())
      rows.push({
        ...{ 'what sends': kind, 'messages/s': Math.round(of(i, 'rate')), spread: spreadOf(runs[i].map(({ rate }) => rate)) },
        // of the pool in the same round
        'of the pool': median(runs[i].map(({ rate }, round) => rate / runs[0][round].rate)).toFixed(2),
        ...{ 'CPU each, ms': of(i, 'cpuMs').toFixed(2), 'beyond the pool, ms': (of(i, 'cpuMs') - of(0, 'cpuMs')).toFixed(2) },
        ...{ 'more memory, MiB': of(i, 'mib'), connections: of(i, 'connections') },
      })
    return rows
  } finally {
    await postgres?.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
