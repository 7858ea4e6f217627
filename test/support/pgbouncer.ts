/** PgBouncer before a PostgreSQL server: transaction pooling, everything else as it comes. */
import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../dev/dev-server/index.js'
import { administer, temporaryFolder } from './databases.js'
import { programPath } from './programs.js'
import { eventually } from './skipping-time.js'

/** @param server the URL of a database. @returns the URL of the same database behind PgBouncer. */
export async function startPgBouncer(server: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const folder = temporaryFolder()
  chmodSync(folder.path, 0o755)
  const port = await freePort()
  const { hostname, port: serverPort, username, pathname } = new URL(server)
  writeFileSync(
    join(folder.path, 'pgbouncer.ini'),
    `[databases]
* = host=${hostname} port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = 3
auth_type = trust
auth_file = ${join(folder.path, 'users.txt')}
`,
  )
  writeFileSync(join(folder.path, 'users.txt'), `"${username}" ""\n`)
  const as = process.getuid?.() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : []
  const [program, ...args] = [...as, programPath('pgbouncer') as string, join(folder.path, 'pgbouncer.ini')]
  const child = spawn(program as string, args, { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const url = `postgres://${username}@127.0.0.1:${port}${pathname}`
  await eventually(() => administer(url, 'select 1').catch(() => null))
  return {
    url,
    stop: async () => {
      child.kill('SIGINT')
      await ended
      folder.remove()
    },
  }
}
