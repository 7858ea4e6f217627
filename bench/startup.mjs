// How long a command and a worker take to start, and what an idle worker keeps in memory.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Connection } from '@temporalio/client'
import { startDevServer } from '../dist-dev/dev-server/index.js'
import { median } from './support/median.mjs'
import { memoryOf } from './support/memory.mjs'

const STARTS = 9
const WORKERS = 3
const IDLE_MS = 20_000
const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

export async function startup() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const server = await startDevServer()
  const connection = await Connection.connect({ address: server.address })
  const commands = []
  const polls = []
  const memory = []
  try {
    for (let i = 0; i < STARTS; i += 1) {
      const began = performance.now()
      execFileSync(process.execPath, [cli, 'status', '--help'], { stdio: 'ignore' })
      commands.push(performance.now() - began)
    }
    for (let i = 0; i < WORKERS; i += 1) {
      const { firstPollMs, mib } = await startWorker(connection, server.address, folder)
      polls.push(firstPollMs)
      memory.push(mib)
    }
  } finally {
    await connection.close()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return [
    { what: 'softbounce status --help, ms', median: Math.round(median(commands)) },
    { what: 'a worker from its start to its first poll, ms', median: Math.round(median(polls)) },
    { what: `memory of a worker that was idle for ${IDLE_MS / 1000} s, MiB`, median: median(memory) },
  ]
}

/** Starts a worker in an environment of its own, and looks until the server knows it as a poller. */
async function startWorker(connection, address, folder) {
  const began = performance.now()
  const env = {
    ...{ TEMPORAL_ADDRESS: address, TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'), SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:9' },
    ...{ SOFTBOUNCE_DATABASE_URL: `file:${join(folder, 'softbounce.db')}`, SOFTBOUNCE_LOG_LEVEL: 'error' },
  }
  const child = spawn(process.execPath, [cli, 'worker'], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    while (!(await isPolled(connection, child.pid))) await sleep(10)
    const firstPollMs = performance.now() - began
    await sleep(IDLE_MS)
    return { firstPollMs, mib: memoryOf(child.pid) }
  } finally {
    child.kill('SIGTERM')
    await ended
  }
}

/** Whether this process polls for workflow tasks: workers name themselves by their process ID. */
async function isPolled(connection, pid) {
  const { pollers } = await connection.workflowService.describeTaskQueue({
    ...{ namespace: 'default', taskQueue: { name: 'softbounce' }, taskQueueType: 1 },
  })
  return (pollers ?? []).some(({ identity }) => identity.startsWith(`${pid}@`))
}
