// npm run cluster -- [--history N] [--matching N] [--frontend N] [--keep]: a real Temporal cluster until Ctrl-C.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startCluster, withoutCluster } from './index.js'

const count = { type: 'string', default: '1' } as const
const { values } = parseArgs({
  options: {
    ...{ history: count, matching: count, frontend: count },
    // keeps the cluster's data, ports and counts for the next run with --keep
    keep: { type: 'boolean', default: false },
  },
})

const say = (line: string) => process.stderr.write(`${line}\n`)
const missing = withoutCluster()
if (missing !== null) {
  say(`softbounce: no cluster here: ${missing}`)
  process.exit(0)
}
const cluster = await startCluster({
  ...{ history: positive('history'), matching: positive('matching'), frontend: positive('frontend'), say },
  ...(values.keep ? { folder: join(tmpdir(), 'softbounce-cluster') } : {}),
}).catch((error: Error) => {
  say(`softbounce: the cluster did not start: ${error.message}`)
  process.exit(1)
})
process.stdout.write(`
Temporal: ${cluster.address} (namespace default)
PostgreSQL: ${cluster.postgres.url}
logs: ${cluster.folder}
${cluster.services.map(({ name, pid }) => `  ${name}: process ${pid}`).join('\n')}

TEMPORAL_ADDRESS=${cluster.address} npx softbounce worker
Ctrl-C ends it${values.keep ? '; its data stay for the next run with --keep' : ''}.
`)
const end = async () => {
  await cluster.stop()
  process.exit(0)
}
process.once('SIGINT', end)
process.once('SIGTERM', end)

function positive(name: 'history' | 'matching' | 'frontend'): number {
  const number = Number(values[name])
  if (Number.isInteger(number) && number > 0) return number
  say(`softbounce: --${name} must be a positive integer, not ${JSON.stringify(values[name])}`)
  process.exit(2)
}
