// Sleeping workflows: what each costs the server's database, whether the worker's memory grows, and whether starting, listing and waking
// slow down as their number grows. BENCH_SLEEPING=100000 sets the number; TMPDIR=/dev/shm keeps the server's file off a slow disk.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { NativeConnection } from '@temporalio/worker'
import { SearchAttributes } from '../dist/temporal/namespace.js'
import { TASK_QUEUE } from '../dist/worker.js'
import { lifeOf } from './support/life.mjs'
import { median } from './support/median.mjs'
import { startTemporal } from './support/temporal.mjs'

const MOST = Number(process.env.BENCH_SLEEPING ?? 5000)
const STEPS = 5
/** How many of others are woken within one minute, at the end. */
const WAKING = Number(process.env.BENCH_WAKING ?? 0)
/** Slower than any of these machines starts them. */
const STARTS_PER_SECOND = 15
const AT_ONCE = 40
const SLEEP_MS = 24 * 3_600_000
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const worker = fileURLToPath(new URL('./support/life-worker.mjs', import.meta.url))

async function startWorker(address) {
  const options = JSON.stringify({ address, namespace: 'default', kind: 'softbounce', cached: true })
  const child = fork(worker, [options], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const answer = () => new Promise((resolve) => child.once('message', resolve))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await answer()
  return {
    usage: () => {
      const answered = answer()
      child.send('usage')
      return answered
    },
    stop: async () => {
      child.send('stop')
      await ended
    },
  }
}

/** Waits until every workflow is prepared and sleeps, so that no workflow task is pending. */
async function allSleep(client, count) {
  const query = `WorkflowType = 'retryBouncedMessage' AND BounceStatus = '4.3.2'`
  for (;;) {
    const found = await client.workflow.count(query)
    if (found.count >= count) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Wakes many within one minute, beside those that sleep: how late is each? */
async function wakeUp(client) {
  const began = Date.now()
  // by then all have been started
  const firstDueAt = began + (WAKING / STARTS_PER_SECOND) * 1000 + 30_000
  const dueAt = (i) => firstDueAt + Math.floor((i * 60_000) / WAKING)
  const handles = []
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let i = next++; i < WAKING; i = next++) {
        const { workflowId, input } = lifeOf(i, 'wake')
        Object.assign(input.prepared, { retriesSoFar: 3, delaysMs: [0, 0, 0, dueAt(i) - input.prepared.fromMs] })
        handles[i] = await client.workflow.start('retryBouncedMessage', { taskQueue: TASK_QUEUE, workflowId, args: [input] })
      }
    }),
  )
  const startedIn = Date.now() - began
  const late = []
  for (const [i, handle] of handles.entries()) {
    await handle.result()
    const { closeTime } = await handle.describe()
    late.push(closeTime.getTime() - dueAt(i))
  }
  late.sort((a, b) => a - b)
  const at = (share) => `${(late[Math.floor(late.length * share)] / 1000).toFixed(1)} s`
  return {
    asleep: `${WAKING} due within one minute, started in ${Math.round(startedIn / 1000)} s: they end after their time by ${at(0.5)} (half), ${at(0.9)} (90 %), ${at(0.999)} (all but 0.1 %)${startedIn > firstDueAt - began ? '; starting took too long for that' : ''}`,
  }
}

async function timed(step) {
  const began = performance.now()
  await step()
  return performance.now() - began
}

export async function sleeping() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const server = await startTemporal(join(folder, 'temporal.db'))
  const connection = await Connection.connect({ address: server.address })
  const native = await NativeConnection.connect({ address: server.address })
  const attributes = new SearchAttributes(native, 'default', quiet)
  await attributes.register()
  const client = new Client({ connection })
  let running = await startWorker(server.address)
  const handleOf = (i) => client.workflow.getHandle(lifeOf(i, 'sleep').workflowId)
  try {
    const rows = []
    let count = 0
    let before = await server.bytes()
    for (let step = 1; step <= STEPS; step += 1) {
      const until = Math.round((MOST * step) / STEPS)
      const first = count
      const ms = await timed(async () => {
        await Promise.all(
          Array.from({ length: AT_ONCE }, async () => {
            for (let i = count++; i < until; i = count++) {
              const { workflowId, input } = lifeOf(i, 'sleep', [SLEEP_MS])
              await client.workflow.start('retryBouncedMessage', { taskQueue: TASK_QUEUE, workflowId, args: [input] })
            }
          }),
        )
        await allSleep(client, until)
      })
      count = until
      const listed = []
      const queried = []
      for (let look = 0; look < 10; look += 1) {
        const list = client.workflow.list({ query: `BounceDestination = 'example${look}.org'`, pageSize: 20 })
        listed.push(await timed(() => list[Symbol.asyncIterator]().next()))
        queried.push(await timed(() => handleOf(Math.floor((until * look) / 10)).query('progress')))
      }
      const serverCpu = server.cpuMs() + server.databaseCpuMs()
      await new Promise((resolve) => setTimeout(resolve, 3000))
      const { rssMb } = await running.usage()
      rows.push({
        asleep: until,
        'asleep a second': Math.round(((until - first) * 1000) / ms),
        'database bytes each': Math.round(((await server.bytes()) - before) / (until - first)),
        'worker, MiB': Math.round(rssMb),
        'first page of a list, ms': median(listed).toFixed(1),
        'query of one, ms': median(queried).toFixed(1),
        'server CPU while all sleep': `${((server.cpuMs() + server.databaseCpuMs() - serverCpu) / 30).toFixed(1)} %`,
      })
      before = await server.bytes()
      // an interrupted run keeps its results
      console.log(JSON.stringify(rows.at(-1)))
    }
    await running.stop()
    const restart = await timed(async () => {
      running = await startWorker(server.address)
      await handleOf(0).query('progress')
    })
    const hurried = await timed(async () => {
      await handleOf(1).signal('retryNow')
      await handleOf(1).result()
    })
    rows.push({
      asleep: `a worker restarted with ${MOST} asleep answers after ${Math.round(restart)} ms; one that is hurried ends ${Math.round(hurried)} ms later`,
    })
    if (server.restartHistory !== undefined) {
      const ms = await timed(async () => {
        await server.restartHistory()
        await handleOf(2).query('progress')
        await handleOf(2).signal('retryNow')
        await handleOf(2).result()
      })
      rows.push({
        asleep: `history restarted with ${MOST} asleep: one is answered for, and hurried to its end, after ${Math.round(ms)} ms`,
      })
    }
    if (WAKING > 0) rows.push(await wakeUp(client))
    return rows
  } finally {
    attributes.stop()
    await running.stop()
    await connection.close()
    await native.close()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
