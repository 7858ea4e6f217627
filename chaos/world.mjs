// The run's parts: a database, worker processes, and proxies that can cut connections. temporal.mjs has Temporal.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../bench/support/postgres.mjs'

const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib/faketime', '/usr/local/lib/faketime']
  .flatMap((folder) => [join(folder, 'faketime', 'libfaketime.so.1'), join(folder, 'libfaketime.so.1')])
  .find((file) => existsSync(file))

/** A temporary folder; on a small tmpfs, if mounting is allowed, so that the disk can be filled up. */
export function ownFolder(megabytes) {
  const path = mkdtempSync(join(tmpdir(), 'softbounce-chaos-'))
  const data = join(path, 'data')
  mkdirSync(data)
  let mounted = false
  if (userInfo().uid === 0) {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', data], { stdio: 'ignore' })
      mounted = true
    } catch {
      // not allowed in this container: the disk is not filled up
    }
  }
  const filler = join(data, 'filler')
  return {
    path,
    data,
    canBeFilled: mounted,
    /** Fills the disk to the last byte. */
    fill: () => {
      for (let size = megabytes * 1024 * 1024; size >= 4096; size = Math.floor(size / 2))
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' })
        } catch {
          // then in smaller pieces
        }
    },
    empty: () => rmSync(filler, { force: true }),
    remove: () => {
      if (mounted) execFileSync('umount', ['-l', data], { stdio: 'ignore' })
      rmSync(path, { recursive: true, force: true })
    },
  }
}

/** Forwards connections until it is ordered to cut them. */
export async function startProxy(port) {
  const open = new Set()
  const server = createServer((socket) => {
    const other = connect(port, '127.0.0.1')
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ]) {
      open.add(one)
      one
        .on('error', () => {})
        .on('close', () => {
          open.delete(one)
          two.destroy()
        })
    }
    socket.pipe(other)
    other.pipe(socket)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: server.address().port,
    cut: () => {
      for (const socket of open) socket.destroy()
    },
    close: () => {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

/** SQLite in the folder, or PostgreSQL; null if PostgreSQL is not installed. */
export async function startDatabase(kind, folder) {
  if (kind === 'sqlite') return { url: `file:${join(folder.data, 'softbounce.db')}`, port: null, remove: async () => {} }
  return startPostgres()
}

/** A worker that the run restarts after each kill. `skewMs`: its clock's offset. */
export class Worker {
  constructor(name, env, skewMs) {
    this.name = name
    this.skewMs = FAKETIME === undefined ? 0 : skewMs
    this.stopped = false
    this.ready = false
    this.log = ''
    this.env = {
      ...env,
      SOFTBOUNCE_SMTP_EHLO_DOMAIN: name,
      ...(this.skewMs === 0
        ? {}
        : { LD_PRELOAD: FAKETIME, FAKETIME: `${this.skewMs > 0 ? '+' : ''}${this.skewMs / 1000}s`, FAKETIME_DONT_FAKE_MONOTONIC: '1' }),
    }
  }

  start() {
    this.ready = false
    const child = spawn(process.execPath, [CLI, 'worker'], { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child = child
    this.ended = new Promise((resolve) => child.once('exit', resolve))
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        this.log = (this.log + chunk.toString()).slice(-100_000)
        if (this.log.includes('the worker is ready')) this.ready = true
      })
    return this.ended
  }

  get isUp() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  signal(name) {
    if (this.isUp) process.kill(this.child.pid, name)
  }
}
