/** A Dovecot for a test: IMAP on a free port of 127.0.0.1, with one mailbox. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../../dev/dev-server/index.js'
import type { Certificates } from './certificates.js'
import { temporaryFolder } from './databases.js'
import { programPath } from './programs.js'
import { eventually } from './skipping-time.js'

export interface Dovecot {
  readonly port: number
  readonly tlsPort: number
  /** Delivers a mail, as a mail system does. */
  deliver(mail: Uint8Array | string): void
  /** Files of a folder; the mailbox itself when left out. */
  mails(folder?: string): string[]
  /** Where its files lie. */
  readonly maildir: string
  close(): Promise<void>
}

export interface DovecotOptions {
  readonly certificates?: Certificates
  /** URL of a token introspection endpoint (RFC 7662, by GET). */
  readonly introspection?: string
}

/** `mail`, on Debian. */
const UID = 8
export const USER = 'bounces@example.com'
export const PASSWORD = 'a password of the test'

export async function startDovecot({ certificates, introspection }: DovecotOptions = {}): Promise<Dovecot> {
  const folder = temporaryFolder()
  // Dovecot's own users must be able to read it
  chmodSync(folder.path, 0o755)
  const [port, tlsPort] = [await freePort(), await freePort()]
  const maildir = join(folder.path, 'mail')
  for (const name of ['cur', 'new', 'tmp']) {
    mkdirSync(join(maildir, name), { recursive: true })
    chownSync(join(maildir, name), UID, UID)
  }
  chownSync(maildir, UID, UID)
  if (certificates !== undefined) {
    writeFileSync(join(folder.path, 'cert.pem'), certificates.cert)
    writeFileSync(join(folder.path, 'key.pem'), certificates.key)
  }
  writeFileSync(join(folder.path, 'users'), `${USER}:{PLAIN}${PASSWORD}\n`)
  if (introspection !== undefined)
    writeFileSync(
      join(folder.path, 'oauth2.conf'),
      `introspection_url = ${introspection}?token=\nintrospection_mode = get\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n`,
    )
  const config = `
protocols = imap
base_dir = ${folder.path}/run
state_dir = ${folder.path}/state
log_path = ${folder.path}/log
mail_location = maildir:${maildir}
first_valid_uid = ${UID}
first_valid_gid = ${UID}
disable_plaintext_auth = no
auth_mechanisms = plain xoauth2 oauthbearer
ssl = ${certificates === undefined ? 'no' : 'yes'}
${certificates === undefined ? '' : `ssl_cert = <${folder.path}/cert.pem\nssl_key = <${folder.path}/key.pem`}
mail_max_userip_connections = 50
auth_failure_delay = 0
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = ${port}
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = ${certificates === undefined ? 0 : tlsPort}
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
passdb {
  driver = passwd-file
  mechanisms = plain
  args = ${folder.path}/users
}
${introspection === undefined ? '' : `passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = ${folder.path}/oauth2.conf\n}`}
userdb {
  driver = static
  args = uid=${UID} gid=${UID} home=${maildir}
}
`
  writeFileSync(join(folder.path, 'dovecot.conf'), config)
  const child: ChildProcess = spawn(programPath('dovecot') as string, ['-F', '-c', join(folder.path, 'dovecot.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (chunk) => {
    said += chunk
  })
  await eventually(() => answers(port), 20_000).catch(() => {
    throw new Error(`dovecot did not start: ${said}`)
  })
  return {
    port,
    tlsPort,
    maildir,
    deliver: (mail) => {
      const name = `${Date.now()}.${randomUUID()}.test`
      writeFileSync(join(maildir, 'tmp', name), mail)
      chownSync(join(maildir, 'tmp', name), UID, UID)
      renameSync(join(maildir, 'tmp', name), join(maildir, 'new', name))
    },
    mails: (name) => {
      const at = name === undefined ? maildir : join(maildir, `.${name}`)
      const list = (part: string) => {
        try {
          return readdirSync(join(at, part))
        } catch {
          return []
        }
      }
      return [...list('new'), ...list('cur')]
    },
    close: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
      folder.remove()
    },
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('data', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** A proxy to a port whose connections can be cut. */
export interface Cable {
  readonly port: number
  /** Cuts every connection. */
  cut(): void
  /** Bytes until the next connections are cut by themselves. */
  cutAfter: number
  readonly connections: number
  close(): Promise<void>
}

export async function startCable(to: number): Promise<Cable> {
  const open = new Set<Socket>()
  const cable = { cutAfter: Number.POSITIVE_INFINITY, connections: 0 }
  const server: Server = createServer((near) => {
    cable.connections += 1
    const far = connect(to, '127.0.0.1')
    let bytes = 0
    const limit = cable.cutAfter
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(a)
      a.on('error', () => {})
      a.on('close', () => {
        open.delete(a)
        b.destroy()
      })
      a.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        // bytes before the cut still arrive
        if (bytes > limit) return void b.end(chunk.subarray(0, Math.max(0, limit - (bytes - chunk.length))), () => a.destroy())
        if (!b.destroyed && !b.write(chunk)) a.pause()
      })
      b.on('drain', () => a.resume())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(cable, {
    port: (server.address() as { port: number }).port,
    cut: () => {
      for (const socket of open) socket.destroy()
    },
    close: async () => {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }) as Cable
}
