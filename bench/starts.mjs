// Starts: by the client, which stores the message and calls signalWithStart, against bare starts; and bounces by LMTP, from the
// connection to the reply, against an LMTP server that discards the same mails.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { SMTPServer } from 'smtp-server'
import { SoftbounceClient } from '../dist/client/index.js'
import { readSettings } from '../dist/config/config.js'
import { dayOf, sentId, signReturnPath } from '../dist/delivery/index.js'
import { migrateToLatest, openDatabase, storeSent } from '../dist/store/index.js'
import { startDevServer } from '../dist-dev/dev-server/index.js'
import { lifeOf } from './support/life.mjs'
import { memoryOf } from './support/memory.mjs'

const STARTS = Number(process.env.BENCH_STARTS ?? 2000)
const AT_ONCE = 50
const CONNECTIONS = 8
const KEY = Buffer.alloc(32, 7).toString('base64')
const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const REPLY = '421 4.3.2 System not accepting network messages'
const content = (i) =>
  Buffer.from(`From: shop@example.com\r\nMessage-ID: <s${i}@example.com>\r\n\r\n${'Thank you for your order.\r\n'.repeat(40)}`)

/** Runs `count` steps, `atOnce` in parallel; returns steps per second. `memory`: the process's memory at the end, MiB. */
async function rate(count, atOnce, step, memory = memoryOf) {
  const began = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let i = next++; i < count; i = next++) await step(i)
    }),
  )
  const perSecond = (count * 1000) / (performance.now() - began)
  return { perSecond, mib: memory() }
}

function bounceOf(i, to) {
  const delivery = `Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; b${i}@example.org\r\nAction: failed\r\nStatus: 4.3.2\r\nDiagnostic-Code: smtp; ${REPLY}\r\n`
  return `From: MAILER-DAEMON@example.org\r\nTo: ${to}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nIt came back.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n${delivery}\r\n--b--\r\n`
}

/** Each connection carries many bounces: a new connection for each would cost more than the bounce itself. */
function lmtp(port) {
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

async function lmtpRate(port, mails, memory) {
  const lines = Array.from({ length: CONNECTIONS }, () => lmtp(port))
  for (const line of lines) await line.open()
  const free = [...lines]
  const deliver = async (i) => {
    const line = free.pop()
    await line.deliver(mails[i].to, mails[i].mail)
    free.push(line)
  }
  const done = await rate(mails.length, CONNECTIONS, deliver, memory)
  for (const line of lines) line.close()
  return done
}

async function startIntake(env) {
  const child = spawn(process.execPath, [CLI, 'intake'], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  let log = ''
  const port = await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      log += chunk
      const [, port] = /"lmtp":"127\.0\.0\.1:(\d+)"/.exec(log) ?? []
      if (port !== undefined) resolve(Number(port))
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    ended.then(() => reject(new Error(`the intake ended: ${log}`)))
  })
  return {
    port,
    memory: () => memoryOf(child.pid),
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** An LMTP server that accepts and discards everything. */
async function startNothing() {
  const server = new SMTPServer({
    ...{ lmtp: true, authOptional: true, disabledCommands: ['AUTH', 'STARTTLS'], disableReverseLookup: true },
    onData: (stream, _session, done) => {
      stream.resume()
      stream.on('end', () => done(null))
    },
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: server.server.address().port, stop: () => new Promise((resolve) => server.close(resolve)) }
}

export async function starts() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const url = `file:${join(folder, 'softbounce.db')}`
  const server = await startDevServer()
  const connection = await Connection.connect({ address: server.address })
  const temporal = new Client({ connection })
  const database = openDatabase({ url: url })
  await migrateToLatest(database)
  const env = {
    ...{ TEMPORAL_ADDRESS: server.address, TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'), SOFTBOUNCE_DATABASE_URL: url },
    ...{
      SOFTBOUNCE_RETURN_PATH_KEYS: KEY,
      SOFTBOUNCE_INTAKE_LISTEN: '127.0.0.1:0',
      SOFTBOUNCE_LOG_LEVEL: 'info',
    },
  }
  const settings = readSettings(env)
  const client = await SoftbounceClient.open(settings, { temporal, database })
  try {
    const bare = await rate(STARTS, AT_ONCE, (i) => {
      const { workflowId, input } = lifeOf(i, 'bare')
      return temporal.workflow.start('retryBouncedMessage', { taskQueue: 'softbounce', workflowId, args: [input] })
    })
    const bounce = (i) => ({
      sender: 'shop@example.com',
      recipient: `s${i}@example.org`,
      status: '4.3.2',
      bouncedAt: new Date().toISOString(),
    })
    const ours = await rate(STARTS, AT_ONCE, (i) => client.retry(content(i), { ...bounce(i), diagnostic: REPLY }))

    const now = new Date()
    const mails = []
    for (let i = 0; i < STARTS; i += 1) {
      const [messageId, recipient] = [`b${i}@example.com`, `b${i}@example.org`]
      const id = sentId(messageId, recipient)
      const row = { id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }
      await storeSent(database, content(i), [row], now)
      const to = signReturnPath(settings.returnPaths, { id, day: dayOf(now), send: 0 }, 'shop@example.com')
      mails.push({ to, mail: bounceOf(i, to) })
    }
    const nothing = await startNothing()
    const taken = await lmtpRate(nothing.port, mails)
    await nothing.stop()
    const intake = await startIntake(env)
    const handled = await lmtpRate(intake.port, mails, intake.memory)
    await intake.stop()
    // visibility is eventually consistent
    const started = () => temporal.workflow.count("WorkflowType = 'retryBouncedMessage'")
    for (let look = 0; look < 50 && (await started()).count < 3 * STARTS; look += 1) await sleep(100)
    const row = (what, { perSecond, mib }, beside) => ({
      ...{ what, 'a second': Math.round(perSecond), 'of what is beside it': (perSecond / beside.perSecond).toFixed(2) },
      'memory of the process, MiB': mib,
    })
    return [
      row('workflow.start of the bare SDK', bare, bare),
      row('client.retry: message kept, signal with start', ours, bare),
      row('LMTP into nothing', taken, taken),
      row('bounces by softbounce intake: read, authenticated, started, recorded', handled, taken),
      row('the same, beside bare starts', handled, bare),
      { what: 'workflows that were started', 'a second': `${(await started()).count} in all` },
    ]
  } finally {
    await client.close()
    await connection.close()
    await database.close()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
