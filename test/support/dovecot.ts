/** A Dovecot for a test: IMAP on a free port of 127.0.0.1, with one mailbox. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { dovecotConf, MAIL_UID } from '../../bench/support/dovecot-conf.mjs'
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
    chownSync(join(maildir, name), MAIL_UID, MAIL_UID)
  }
  chownSync(maildir, MAIL_UID, MAIL_UID)
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
  const tls =
    certificates === undefined ? ['ssl = no'] : ['ssl = yes', `ssl_cert = <${folder.path}/cert.pem`, `ssl_key = <${folder.path}/key.pem`]
  const oauth2 = `passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = ${folder.path}/oauth2.conf\n}`
  const config = dovecotConf({
    ...{ folder: folder.path, port, maildir, tlsPort: certificates === undefined ? 0 : tlsPort },
    more: [...tls, 'auth_mechanisms = plain xoauth2 oauthbearer', ...(introspection === undefined ? [] : [oauth2])].join('\n'),
  })
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
      chownSync(join(maildir, 'tmp', name), MAIL_UID, MAIL_UID)
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
