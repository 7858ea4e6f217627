// A worker of the life bench: softbounce's workflows, or the bare ones, with activities that return at once. Reports its CPU time.
import { NativeConnection, Worker } from '@temporalio/worker'
import { readSettings } from '../../dist/config/config.js'
import { workerOptions } from '../../dist/worker.js'
import { DELAYS_MS } from './life.mjs'

const { address, namespace, kind, cached, bundle } = JSON.parse(process.argv[2])
const attempt = (retry) => ({
  ...{ retry, at: new Date().toISOString() },
  ...(retry < DELAYS_MS.length
    ? { outcome: 'deferred', status: '4.3.2', reply: '421 4.3.2 System not accepting network messages' }
    : { outcome: 'accepted', status: '2.0.0', reply: '250 2.0.0 Ok: queued as 4f2K1s0' }),
})
const activities = {
  prepare: async ({ prepared }) => prepared,
  suppressAddress: async () => ({ suppressedUntil: new Date(Date.now() + 86_400_000).toISOString() }),
  sendMessage: async ({ retry }) => ({
    ...{ kind: 'answered', attempt: attempt(retry), relayed: false, lasting: false, ambiguous: false },
    failedAtMs: Date.now(),
  }),
}
const connection = await NativeConnection.connect({ address })
const options = workerOptions(readSettings({}))
const worker = await Worker.create({
  ...options,
  ...(kind === 'softbounce' ? {} : { workflowBundle: { codePath: bundle } }),
  ...{ connection, namespace, activities },
  // not 0: workflow tasks with local activities would then block each other (temporalio/sdk-rust issue 886)
  ...(cached ? {} : { maxCachedWorkflows: 1 }),
})
process.on('message', (what) => {
  if (what === 'stop') return worker.shutdown()
  const { user, system } = process.cpuUsage()
  process.send({ cpuMs: (user + system) / 1000, rssMb: process.memoryUsage().rss / 2 ** 20 })
})
process.send('ready')
await worker.run()
await connection.close()
process.disconnect()
