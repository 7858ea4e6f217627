// Starts: by the client, which stores the message and calls signalWithStart, against bare starts; and bounces by LMTP, from the
// connection to the reply, against an LMTP server that discards the same mails.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import { SMTPServer } from 'smtp-server'
import { SoftbounceClient } from '../dist/client/index.js'
import { readSettings } from '../dist/config/config.js'
import { dayOf, sentId, signReturnPath } from '../dist/delivery/index.js'
import { migrateToLatest, openDatabase, storeSent } from '../dist/store/index.js'
import { startDevServer } from '../dist-dev/dev-server/index.js'
import { bounceOf, lmtp, REPLY, startIntake } from './support/intake.mjs'
import { lifeOf } from './support/life.mjs'
import { memoryOf } from './support/memory.mjs'

const STARTS = Number(process.env.BENCH_STARTS ?? 2000)
const AT_ONCE = 50
const CONNECTIONS = 8
const KEY = Buffer.alloc(32, 7).toString('base64')
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
