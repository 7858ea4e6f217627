// A PostgreSQL of the bench's own, on a free port; null if it is not installed. As root, it runs as the user postgres.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
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

export async function startPostgres() {
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
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200`
  const start = () => run('pg_ctl', '-D', data, '-w', '-l', join(folder, 'log'), '-o', options, 'start')
  const stop = () => run('pg_ctl', '-D', data, '-w', '-m', 'immediate', 'stop')
  start()
  return {
    port,
    url: `postgres://softbounce@127.0.0.1:${port}/postgres`,
    /** Stops it as if it had crashed. */
    stop: async () => stop(),
    restart: async () => start(),
    remove: async () => {
      stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
