// A softbounce intake in a process of its own, a bounce for it, and an LMTP client.
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { memoryOf } from './memory.mjs'

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
export const REPLY = '421 4.3.2 System not accepting network messages'

export function bounceOf(i, to) {
  const delivery = `Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; b${i}@example.org\r\nAction: failed\r\nStatus: 4.3.2\r\nDiagnostic-Code: smtp; ${REPLY}\r\n`
  return `From: MAILER-DAEMON@example.org\r\nTo: ${to}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nIt came back.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n${delivery}\r\n--b--\r\n`
}

/** Each connection carries many bounces: a new connection for each would cost more than the bounce itself. */
export function lmtp(port) {
  const socket = connect(port, '127.0.0.1')
  let heard = ''
  const replies = []
  const waiting = []
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1')
    if (!/^\d{3} [^\r\n]*\r\n$/m.test(heard)) return
    const take = waiting.shift()
    if (take === undefined) replies.push(heard)
    else take(heard)
    heard = ''
  })
  const say = (line) =>
    new Promise((resolve) => {
      // the banner may have arrived already
      const [reply] = replies.splice(0, 1)
      if (reply === undefined) waiting.push(resolve)
      else resolve(reply)
      if (line !== null) socket.write(`${line}\r\n`)
    })
  return {
    open: async () => {
      await say(null)
      await say('LHLO bench.example.com')
    },
    deliver: async (to, mail) => {
      await say('MAIL FROM:<>')
      await say(`RCPT TO:<${to}>`)
      await say('DATA')
      const reply = await say(`${mail}.`)
      if (!reply.startsWith('250')) throw new Error(`the bounce was not taken: ${reply}`)
    },
    close: () => socket.end('QUIT\r\n'),
  }
}

/** @param args such as `['--imap']`. */
export async function startIntake(env, args = []) {
  const child = spawn(process.execPath, [CLI, 'intake', ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  let log = ''
  const port = await new Promise((resolve, reject) => {
    let isReady = false
    const hear = (chunk) => {
      if (isReady) return
      log += chunk
      if (!log.includes('the intake is ready')) return
      const [, port] = /"lmtp":"127\.0\.0\.1:(\d+)"/.exec(log) ?? []
      resolve(port === undefined ? null : Number(port))
      isReady = true
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    ended.then(() => reject(new Error(`the intake ended: ${log}`)))
  })
  return {
    port,
    pid: child.pid,
    memory: () => memoryOf(child.pid),
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}
