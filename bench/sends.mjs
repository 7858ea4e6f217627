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
const CONNECTIONS = 20
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
    const kinds = [['nodemailer’s pool'], ['send activity, SQLite', `file:${join(folder, 'softbounce.db')}`]]
    if (postgres !== null) kinds.push(['send activity, PostgreSQL', postgres.url])
    let pool = 0
    for (const [kind, url] of kinds) {
      const { rate, mib, cpuMs, connections } = await run(kind, url)
      if (url === undefined) pool = rate
      rows.push({
        ...{ 'what sends': kind, 'messages/s': Math.round(rate), 'of the pool': (rate / pool).toFixed(2) },
        ...{ 'CPU each, ms': cpuMs.toFixed(2), 'more memory, MiB': mib, connections },
      })
    }
    return rows
  } finally {
    await postgres?.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
