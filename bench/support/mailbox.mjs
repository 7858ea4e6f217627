// A Dovecot with one mailbox; null if it is not installed.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../dist-dev/dev-server/index.js'
import { dovecotConf, MAIL_UID } from './dovecot-conf.mjs'

export async function startMailbox(folder) {
  let program
  try {
    program = execFileSync('/bin/sh', ['-c', 'PATH=$PATH:/usr/sbin command -v dovecot'], { encoding: 'utf8' }).trim()
  } catch {
    return null
  }
  chmodSync(folder, 0o755)
  const port = await freePort()
  const maildir = join(folder, 'mail')
  for (const name of ['', 'cur', 'new', 'tmp']) {
    mkdirSync(join(maildir, name), { recursive: true })
    chownSync(join(maildir, name), MAIL_UID, MAIL_UID)
  }
  writeFileSync(join(folder, 'users'), 'bounces:{PLAIN}secret\n')
  writeFileSync(join(folder, 'dovecot.conf'), dovecotConf({ folder, port, maildir }))
  const child = spawn(program, ['-F', '-c', join(folder, 'dovecot.conf')], { stdio: 'ignore' })
  const answers = () =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('data', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('data', () => socket.destroy())
    })
  for (let look = 0; look < 200 && !(await answers()); look += 1) await sleep(50)
  return {
    maildir,
    url: `imap://bounces:secret@127.0.0.1:${port}/INBOX`,
    stop: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** Delivers forged bounces, and a genuine one as the last. */
export async function fillMailbox({ maildir }, count, genuine) {
  const top = (to) =>
    `Return-Path: <>\r\nDelivered-To: ${to}\r\nReceived: from mx.example.net by mail.example.com; Tue, 24 Nov 2026 08:00:00 +0000\r\n`
  for (let i = 0; i < count; i += 1) {
    const to = i === count - 1 ? genuine.to : `bounce+${String(i).padStart(39, 'a')}@example.com`
    const name = join(maildir, 'new', `${1_700_000_000 + i}.M${i}.bench`)
    writeFileSync(name, `${top(to)}${genuine.mail}`)
    chownSync(name, MAIL_UID, MAIL_UID)
  }
}
