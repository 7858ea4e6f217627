// The send activity alone: claim, permit, transaction and attempt log, against nodemailer's pool on the same sink, one process each.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { median } from './support/median.mjs'
import { startPostgres } from './support/postgres.mjs'
import { startSink } from './support/sink.mjs'

const MESSAGES = Number(process.env.BENCH_SENDS_MESSAGES ?? 3000)
const ROUNDS = Number(process.env.BENCH_SENDS_ROUNDS ?? 3)
const CONNECTIONS = 20
const spreadOf = (list) => `${Math.round(Math.min(...list))}–${Math.round(Math.max(...list))}`
const sender = fileURLToPath(new URL('./support/sender.mjs', import.meta.url))

export async function sends() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const postgres = await startPostgres()
  const run = async (kind, url, processes) => {
    const sink = await startSink()
    try {
      const order = (process) =>
        JSON.stringify({
          kind,
          url,
          process,
          port: sink.port,
          messages: MESSAGES / processes,
          connections: CONNECTIONS / processes,
          limit: CONNECTIONS,
        })
      const sent = await Promise.all(
        Array.from({ length: processes }, (_, i) => promisify(execFile)(process.execPath, ['--expose-gc', sender, order(i)])),
      )
      const figures = sent.map(({ stdout }) => JSON.parse(stdout))
      const sum = (figure) => figures.reduce((all, one) => all + one[figure], 0)
      const [seconds, mib, cpuMs] = [Math.max(...figures.map((one) => one.seconds)), sum('mib'), sum('cpuMs')]
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
    const kinds = [
      ['nodemailer’s pool', undefined, 1],
      ['send activity, SQLite', (round) => `file:${join(folder, `${round}.db`)}`, 1],
    ]
    if (postgres !== null)
      for (const processes of [1, 2, 4])
        kinds.push([`send activity, PostgreSQL, ${processes} ${processes === 1 ? 'process' : 'processes'}`, () => postgres.url, processes])
    const runs = kinds.map(() => [])
    for (let round = 0; round < ROUNDS; round += 1)
      for (const [i, [kind, url, processes]] of kinds.entries()) runs[i].push(await run(kind, url?.(round), processes))
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
