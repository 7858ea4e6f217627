// The Temporal of a run, and how it fails: a dev server that persists to a file, or a cluster (npm run cluster) with two history services.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCluster, withoutCluster } from '../dist-dev/cluster/index.js'
import { freePort, startDevServer } from '../dist-dev/dev-server/index.js'
import { administer, startPostgres } from '../dist-dev/postgres/index.js'

/**
 * @param kind `dev-server` or `cluster`.
 * @returns its address, and `faults`: by name, a weight and `run(during, random)`, which breaks it and mends it again. The kinds of these
 * faults begin with `Temporal`: none of them excuses a message that is sent twice. Null, with the reason on stderr, if it cannot run here.
 */
export async function startTemporal(kind, folder) {
  if (kind === 'dev-server') return devServer(folder)
  if (kind !== 'cluster') throw new Error(`--temporal must be dev-server or cluster, not ${kind}`)
  const missing = withoutCluster()
  if (missing === null) return cluster()
  process.stderr.write(`${missing}\n`)
  return null
}

/** A fault that lasts a while. @param parts makes its kind, what breaks and what mends, such as of one service at random. */
const fault = (weight, [shortestMs, longestMs], parts) => ({
  weight,
  run: async (during, random) => {
    const { kind, break_, mend } = parts(random)
    const ms = random.between(shortestMs, longestMs)
    await during(kind, break_, async () => {
      await sleep(ms)
      await mend()
    })
  },
})

async function devServer(folder) {
  const port = await freePort()
  const start = () => startDevServer({ say: () => {}, port, databaseFile: join(folder.path, 'temporal.db') })
  let server = await start()
  const signal = (name) => process.kill(server.pid, name)
  return {
    port,
    address: `127.0.0.1:${port}`,
    faults: {
      'kill Temporal': fault(1, [100, 2000], () => ({
        kind: 'Temporal killed',
        break_: () => signal('SIGKILL'),
        mend: async () => {
          server = await start()
        },
      })),
      'freeze Temporal': fault(1, [500, 5000], () => ({
        kind: 'Temporal frozen',
        break_: () => signal('SIGSTOP'),
        mend: () => signal('SIGCONT'),
      })),
    },
    stop: () => server.stop(),
  }
}

async function cluster() {
  const one = await startCluster({ history: 2, say: (line) => process.stderr.write(`${line}\n`) })
  const database = new ReplicatedPostgres(one)
  await database.addStandby()
  const network = new Network()
  /** Breaks one of the services, and mends it after a while. */
  const ofService = (weight, kind, longestMs, break_, mend) =>
    fault(weight, [200, longestMs], (random) => {
      const service = random.pick(one.services)
      return { kind: `Temporal’s ${service.name} ${kind}`, break_: () => break_(service), mend: () => mend(service) }
    })
  const start = (service) => service.start()
  return {
    port: Number(one.address.split(':')[1]),
    address: one.address,
    faults: {
      'kill a service': ofService(3, 'killed', 4000, (service) => service.signal('SIGKILL'), start),
      // the shards of a history service move to the other one
      'restart a service': ofService(1, 'restarted', 2000, (service) => service.stop(), start),
      'freeze a service': ofService(
        2,
        'frozen',
        8000,
        (service) => service.signal('SIGSTOP'),
        (service) => service.signal('SIGCONT'),
      ),
      ...(network.canCut
        ? {
            'make a service unreachable': ofService(
              2,
              'unreachable',
              8000,
              (service) => network.cut(service.ports),
              (service) => network.mend(service.ports),
            ),
          }
        : {}),
      'stop Temporal’s database': fault(1, [300, 4000], () => ({
        kind: 'Temporal’s database stopped',
        break_: () => database.stop(),
        mend: () => database.start(),
      })),
      'fail over Temporal’s database': {
        weight: 0.5,
        run: (during) =>
          during(
            'Temporal’s database failed over',
            () => database.failOver(),
            () => database.addStandby(),
          ),
      },
    },
    stop: async () => {
      network.end()
      await one.stop()
      await database.remove()
    },
  }
}

/** Drops packets to a port of 127.0.0.1, by a table of nftables of its own. */
class Network {
  #table = `softbounce_chaos_${process.pid}`
  #cut = new Set()

  constructor() {
    try {
      this.#nft(`add table inet ${this.#table}`)
      this.#nft(`add chain inet ${this.#table} in { type filter hook input priority 0 ; }`)
      this.canCut = true
    } catch {
      process.stderr.write('nftables is missing or not allowed: services are not cut off\n')
      this.canCut = false
    }
  }

  cut(ports) {
    for (const port of ports) this.#cut.add(port)
    this.#apply()
  }

  mend(ports) {
    for (const port of ports) this.#cut.delete(port)
    this.#apply()
  }

  #apply() {
    this.#nft(`flush chain inet ${this.#table} in`)
    for (const port of this.#cut) {
      this.#nft(`add rule inet ${this.#table} in tcp dport ${port} drop`)
      this.#nft(`add rule inet ${this.#table} in tcp sport ${port} drop`)
    }
  }

  end() {
    if (this.canCut) this.#nft(`delete table inet ${this.#table}`)
  }

  #nft(rule) {
    execFileSync('nft', [rule], { stdio: 'ignore' })
  }
}

/** The cluster's PostgreSQL with a synchronous standby, which is started on the primary's port when the primary fails. */
class ReplicatedPostgres {
  #primary
  #standby = null
  #folders = []

  constructor({ postgres }) {
    this.#primary = postgres
    this.port = postgres.port
  }

  stop() {
    return this.#primary.stop()
  }

  start() {
    return this.#primary.start()
  }

  async addStandby() {
    const { url } = this.#primary
    this.#standby = await startPostgres(['max_connections=300'], { standbyOf: url, durable: true })
    this.#folders.push(this.#standby.folder)
    await administer(url, "alter system set synchronous_standby_names = '*'")
    await administer(url, 'select pg_reload_conf()')
    for (;;) {
      const rows = await administer(url, "select 1 from pg_stat_replication where sync_state = 'sync'")
      if (rows.length > 0) return
      await sleep(100)
    }
  }

  /** What the primary had committed is on the standby, which becomes the primary at the same port. */
  async failOver() {
    await this.#primary.stop()
    await this.#standby.stop()
    const { folder } = this.#standby
    rmSync(join(folder, 'data', 'standby.signal'))
    rmSync(join(folder, 'data', 'postgresql.auto.conf'))
    this.#primary = await startPostgres(['max_connections=300'], { folder, port: this.port, durable: true })
  }

  async remove() {
    for (const one of [this.#standby, this.#primary]) await one?.remove()
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true })
  }
}
