// A PostgreSQL of the bench's own, on a free port; null if it is not installed. As root, it runs as the user postgres.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../dist-dev/dev-server/index.js'

const FOLDER = '/usr/lib/postgresql'

function programs() {
  const onPath = (process.env.PATH ?? '').split(':').find((folder) => existsSync(join(folder, 'initdb')))
  if (onPath !== undefined || !existsSync(FOLDER)) return onPath ?? null
  return (
    readdirSync(FOLDER)
      .map((version) => join(FOLDER, version, 'bin'))
      .findLast((bin) => existsSync(join(bin, 'initdb'))) ?? null
  )
}

/** @param settings of the server, as options of `postgres`. */
export async function startPostgres(settings = []) {
  const bin = programs()
  if (bin === null) return null
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const root = userInfo().uid === 0
  if (root) execFileSync('chown', ['postgres', folder])
  const run = (program, ...args) => {
    const [command, ...rest] = [
      ...(root ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : []),
      join(bin, program),
      ...args,
    ]
    execFileSync(command, rest, { stdio: 'ignore' })
  }
  const data = join(folder, 'data')
  run('initdb', '-D', data, '-U', 'softbounce', '--auth=trust', '-E', 'UTF8', '--no-sync')
  const port = await freePort()
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 ${settings.join(' ')}`
  const start = () => run('pg_ctl', '-D', data, '-w', '-l', join(folder, 'log'), '-o', options, 'start')
  const stop = () => run('pg_ctl', '-D', data, '-w', '-m', 'immediate', 'stop')
  start()
  return {
    port,
    url: `postgres://softbounce@127.0.0.1:${port}/postgres`,
    /** CPU time of all its processes so far, those that have ended too, ms (Linux). */
    cpuMs: () => {
      const parent = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
      const fields = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').map(Number)
      const ended = fields(parent)
      let ticks = ended[11] + ended[12] + ended[13] + ended[14]
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
        try {
          const one = fields(pid)
          if (one[1] === parent) ticks += one[11] + one[12]
        } catch {
          // it has ended
        }
      return ticks * 10
    },
    /** Stops it as if it had crashed. */
    stop: async () => stop(),
    restart: async () => start(),
    remove: async () => {
      stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
