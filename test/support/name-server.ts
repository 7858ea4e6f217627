/** A name server (Debian's nsd) on 127.0.0.1 with the test's zones; and one that never answers. */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../dev/dev-server/index.js'
import { resolverOf } from '../../src/delivery/index.js'
import { temporaryFolder } from './databases.js'

const NSD = [...(process.env.PATH ?? '').split(':').map((folder) => join(folder, 'nsd')), '/usr/sbin/nsd'].find((file) => existsSync(file))

/** Why name server tests are skipped; null if nsd is installed. */
export const withoutNameServer: string | null = NSD === undefined ? 'nsd is not installed' : null

export interface NameServer {
  /** For direct.dnsServers. */
  readonly address: string
  close(): Promise<void>
}

/**
 * @param zones records by zone, as a zone file has them; null: a zone whose records are lost, for which the server fails (SERVFAIL).
 */
export async function startNameServer(zones: Readonly<Record<string, string | null>>): Promise<NameServer> {
  const folder = temporaryFolder()
  const port = await freePort()
  const lines = [
    'server:',
    `  ip-address: 127.0.0.1@${port}`,
    '  username: ""',
    '  server-count: 1',
    '  database: ""',
    `  zonesdir: "${folder.path}"`,
    `  pidfile: "${folder.path}/nsd.pid"`,
    `  xfrdfile: "${folder.path}/xfrd.state"`,
    `  zonelistfile: "${folder.path}/zone.list"`,
    '  rrl-ratelimit: 0',
    'remote-control:',
    '  control-enable: no',
  ]
  for (const [zone, records] of Object.entries(zones)) {
    lines.push('zone:', `  name: "${zone}"`, `  zonefile: "${zone}.zone"`)
    if (records === null) continue
    const text = `$ORIGIN ${zone}.\n$TTL 60\n@ IN SOA ns.${zone}. admin.${zone}. 1 3600 900 604800 60\n@ IN NS ns.${zone}.\nns IN A 127.0.0.1\n${records}\n`
    writeFileSync(join(folder.path, `${zone}.zone`), text)
  }
  writeFileSync(join(folder.path, 'nsd.conf'), `${lines.join('\n')}\n`)
  const child = spawn(NSD as string, ['-d', '-c', join(folder.path, 'nsd.conf')], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const address = `127.0.0.1:${port}`
  const resolve = resolverOf([address])
  const [first] = Object.keys(zones).filter((zone) => zones[zone] !== null)
  for (let tries = 0; ; tries += 1) {
    const answers = await Promise.race([
      resolve(first as string, 'NS').then(
        () => true,
        () => false,
      ),
      new Promise<boolean>((late) => setTimeout(() => late(false), 200)),
    ])
    if (answers) break
    if (tries > 50 || child.exitCode !== null) throw new Error(`nsd does not answer: ${said}`)
    await new Promise((later) => setTimeout(later, 100))
  }
  return {
    address,
    close: async () => {
      child.kill('SIGTERM')
      await ended
      folder.remove()
    },
  }
}

/** A name server that never answers. */
export async function startSilentNameServer(): Promise<NameServer> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', () => resolve()))
  return { address: `127.0.0.1:${socket.address().port}`, close: () => new Promise((resolve) => socket.close(() => resolve())) }
}
