// A whole workflow: CPU of server and worker, events and bytes, against bare workflows of the same shape. Activities return at once, so
// only the workflow's own cost is compared. Measured with a warm workflow cache, and with a cache of one, which is as good as none.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { bundleWorkflowCode, NativeConnection } from '@temporalio/worker'
import { SearchAttributes } from '../dist/temporal/namespace.js'
import { TASK_QUEUE } from '../dist/worker.js'
import { startDevServer } from '../dist-dev/dev-server/index.js'
import { cpuMsOf } from '../dist-dev/process-cpu.js'
import { historyOf, lifeOf } from './support/life.mjs'
import { median } from './support/median.mjs'

const LIVES = Number(process.env.BENCH_LIFE_LIVES ?? 300)
const ROUNDS = Number(process.env.BENCH_LIFE_ROUNDS ?? 3)
const KINDS = { softbounce: 'retryBouncedMessage', 'bare, same steps': 'bareRetries', 'timers and sends alone': 'timersAndSends' }
const path = (name) => fileURLToPath(new URL(`./support/${name}`, import.meta.url))
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, log() {} }

async function startWorker(options) {
  const child = fork(path('life-worker.mjs'), [JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const answer = () => new Promise((resolve) => child.once('message', resolve))
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await Promise.race([answer(), ended.then(() => Promise.reject(new Error(`the worker ended: ${said}`)))])
  const ask = (what) => {
    const answered = answer()
    child.send(what)
    return answered
  }
  return {
    usage: () => ask('usage'),
    stop: async () => {
      child.send('stop')
      await ended
    },
  }
}

/** Runs this many workflows at once; returns the cost of each. */
async function live(client, kind, run, count = LIVES) {
  const lives = Array.from({ length: count }, (_, i) => lifeOf(i, run))
  const results = lives.map(async ({ workflowId, input }) => {
    const handle = await client.workflow.start(KINDS[kind], { taskQueue: TASK_QUEUE, workflowId, args: [input], workflowRunTimeout: '2m' })
    const { outcome, retries } = await handle.result()
    if (outcome !== 'delivered' || retries !== 4) throw new Error(`${workflowId} ended as ${outcome} after ${retries}`)
  })
  await Promise.all(results)
  const { workflowId } = lives[0]
  return historyOf(client, workflowId)
}

async function measure(client, server, kind, cached, bundle, run) {
  const worker = await startWorker({ address: server.address, namespace: 'default', kind, cached, bundle })
  try {
    await live(client, kind, `${run}.warm`, 30)
    await sleep(500)
    const [before, serverBefore] = [await worker.usage(), cpuMsOf(server.pid)]
    const history = await live(client, kind, run)
    await sleep(500)
    const [after, serverAfter] = [await worker.usage(), cpuMsOf(server.pid)]
    return { ...history, worker: (after.cpuMs - before.cpuMs) / LIVES, server: (serverAfter - serverBefore) / LIVES, rssMb: after.rssMb }
  } finally {
    await worker.stop()
  }
}

/** The workflow's part of a life: the activities answer at once. What a whole life costs is measured by whole.mjs. */
export async function workflow() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const bundle = join(folder, 'bare.js')
  const { code } = await bundleWorkflowCode({ workflowsPath: path('bare-workflows.mjs'), logger: quiet })
  writeFileSync(bundle, code)
  const server = await startDevServer()
  const connection = await Connection.connect({ address: server.address })
  const native = await NativeConnection.connect({ address: server.address })
  const attributes = new SearchAttributes(native, 'default', quiet)
  await attributes.register()
  const client = new Client({ connection })
  try {
    const rows = []
    for (const cached of [true, false]) {
      const runs = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, []]))
      // interleaved, so that other load on the machine affects all kinds alike
      for (let round = 0; round < ROUNDS; round += 1)
        for (const kind of Object.keys(KINDS))
          runs[kind].push(await measure(client, server, kind, cached, bundle, `${kind.slice(0, 4)}${cached}${round}`))
      const of = (kind, figure) => median(runs[kind].map((one) => one[figure]))
      for (const kind of Object.keys(KINDS)) {
        const ratio = (figure) => (of('softbounce', figure) / of(kind, figure)).toFixed(2)
        const shown = (figure, unit) => `${of(kind, figure).toFixed(1)} ${unit}${kind === 'softbounce' ? '' : ` (${ratio(figure)})`}`
        rows.push({
          ...{ cache: cached ? 'warm' : 'none', 'workflow (softbounce to it)': kind },
          ...{ worker: shown('worker', 'ms'), server: shown('server', 'ms') },
          ...{ events: `${of(kind, 'events')}${kind === 'softbounce' ? '' : ` (${ratio('events')})`}`, bytes: shown('bytes', 'B') },
          'worker, MiB': Math.round(of(kind, 'rssMb')),
        })
      }
    }
    return rows
  } finally {
    attributes.stop()
    await connection.close()
    await native.close()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
