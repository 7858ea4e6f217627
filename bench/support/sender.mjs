// One process of the sends bench: sends messages by nodemailer's pool, or by the complete send activity.
import { setTimeout as sleep } from 'node:timers/promises'
import { MockActivityEnvironment } from '@temporalio/testing'
import { createTransport } from 'nodemailer'
import { createActivities } from '../../dist/activities/index.js'
import { readSettings } from '../../dist/config/config.js'
import { ConnectionPool } from '../../dist/delivery/index.js'
import { migrateToLatest, openDatabase, storeMessage } from '../../dist/store/index.js'

const { url, port, messages, connections, limit, process: number } = JSON.parse(process.argv[2])
const content = (i) =>
  Buffer.from(
    `From: shop@example.com\r\nTo: r${i}@example.org\r\nMessage-ID: <m${number}.${i}@example.com>\r\nSubject: Your invoice\r\n\r\n${'Thank you for your order.\r\n'.repeat(150)}`,
  )
const envelope = (i) => ({ sender: 'bounces@example.com', recipient: `r${number}.${i}@example${i % 50}.org` })

async function byPool() {
  const pool = createTransport({ host: '127.0.0.1', port, pool: true, maxConnections: connections, maxMessages: 20, ignoreTLS: true })
  return {
    send: ({ sender, recipient }, i) => pool.sendMail({ envelope: { from: sender, to: recipient }, raw: content(i) }),
    close: async () => pool.close(),
  }
}

async function byActivity() {
  const database = openDatabase({ url: url })
  await migrateToLatest(database)
  const keys = []
  for (let i = 0; i < messages; i += 1) keys.push(await storeMessage(database.db, content(i), new Date()))
  const sessions = new ConnectionPool()
  const settings = readSettings({
    ...{
      SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${port}`,
      SOFTBOUNCE_RELAY_TLS: 'off',
      SOFTBOUNCE_RELAY_CONNECTION_LIMIT: String(limit),
    },
    // permits are acquired at their real cost, but limit nothing
    ...{ SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '1000/s', SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: '1000/s' },
  })
  const log = { info() {}, warn() {}, error() {}, debug() {} }
  const { sendMessage } = createActivities({
    ...{ settings, database, sessions, log },
    now: () => new Date(),
    searchAttributesKnown: () => true,
  })
  return {
    send: async ({ sender, recipient }, i) => {
      const order = {
        messageId: `m${number}.${i}@example.com`,
        sender,
        recipient,
        messageKey: keys[i],
        destination: recipient.split('@')[1],
        retry: 1,
      }
      for (;;) {
        try {
          const { attempt } = await environments[i % connections].run(sendMessage, { ...order, firstRunId: `run-${process.pid}-${i}` })
          if (attempt?.outcome !== 'accepted') throw new Error(`message ${i} was ${attempt?.outcome}: ${attempt?.reply}`)
          return
        } catch (error) {
          // its permit is not due yet; Temporal would retry then
          if (error.type !== 'Waiting') throw error
          await sleep(error.nextRetryDelay)
        }
      }
    },
    close: async () => {
      await sessions.end()
      await database.close()
    },
  }
}

const environments = Array.from({ length: connections }, () => new MockActivityEnvironment())
const { send, close } = await (url === undefined ? byPool() : byActivity())
globalThis.gc()
const before = process.memoryUsage().rss
const cpu = process.cpuUsage()
const began = performance.now()
let next = 0
await Promise.all(
  Array.from({ length: connections }, async () => {
    for (let i = next++; i < messages; i = next++) await send(envelope(i), i)
  }),
)
const seconds = (performance.now() - began) / 1000
const { user, system } = process.cpuUsage(cpu)
const mib = Math.round((process.memoryUsage().rss - before) / 2 ** 20)
await close()
process.stdout.write(JSON.stringify({ seconds, mib, cpuMs: (user + system) / 1000 }))
process.exit()
