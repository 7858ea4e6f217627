// The Temporal of a bench: a dev server, or, with BENCH_TEMPORAL=cluster, a real cluster on PostgreSQL (npm run cluster).
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCluster } from '../../dist-dev/cluster/index.js'
import { startDevServer } from '../../dist-dev/dev-server/index.js'
import { administer } from '../../dist-dev/postgres/index.js'
import { cpuMsOf } from '../../dist-dev/process-cpu.js'

export const IS_CLUSTER = process.env.BENCH_TEMPORAL === 'cluster'

/**
 * @param databaseFile of the dev server; in memory if left out.
 * @returns `address`; `cpuMs()` of Temporal's processes; `databaseCpuMs()` of their PostgreSQL (0 for a dev server, whose own it is);
 * `bytes()` of their database; `restartHistory()` of a cluster; `stop()`.
 */
export async function startTemporal(databaseFile) {
  if (!IS_CLUSTER) {
    const server = await startDevServer(databaseFile === undefined ? {} : { databaseFile })
    return {
      address: server.address,
      cpuMs: () => cpuMsOf(server.pid),
      databaseCpuMs: () => 0,
      bytes: async () =>
        [databaseFile, `${databaseFile}-wal`].reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0),
      stop: () => server.stop(),
    }
  }
  const cluster = await startCluster({ say: (line) => console.error(line) })
  return {
    address: cluster.address,
    cpuMs: () => cluster.cpuMs(),
    databaseCpuMs: () => cluster.postgres.cpuMs(),
    bytes: async () => {
      const sizes = "select sum(pg_database_size(datname))::bigint as bytes from pg_database where datname like 'temporal%'"
      const rows = await administer(cluster.postgres.url, sizes)
      return Number(rows[0].bytes)
    },
    restartHistory: async () => {
      for (const service of cluster.services.filter(({ kind }) => kind === 'history')) {
        await service.stop()
        await sleep(100)
        await service.start()
      }
    },
    stop: () => cluster.stop(),
  }
}
