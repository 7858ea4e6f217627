// A process that works on a database whose power may be cut: it sends by the real send activity, stores messages, webhooks and suppressions,
// and says on standard output what it has answered, line by line. It reads its orders from standard input.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { MockActivityEnvironment } from '@temporalio/testing'
import { createActivities } from '../dist/activities/index.js'
import { readSettings } from '../dist/config/config.js'
import { ConnectionPool } from '../dist/delivery/index.js'
import { addToInbox, migrateToLatest, openDatabase, storeMessage } from '../dist/store/index.js'
import { suppressLastingly } from '../dist/suppression/index.js'
import { eventOf, forgotten, goneAddressOf, recipientOf, runOf } from './answered.mjs'

const LANES = 4
const LONGEST_PAUSE_MS = 1000
// a line that was cut short is none: each ends with a dot
const say = (...words) => process.stdout.write(`${words.join(' ')} .\n`)

const contentOf = (i) =>
  Buffer.from(
    `From: shop@example.com\r\nTo: ${recipientOf(i)}\r\nMessage-ID: <m${i}@example.com>\r\nSubject: ${i}\r\n\r\n${'Thank you.\r\n'.repeat(80)}`,
  )

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
say('loaded')
const order = JSON.parse((await lines.next()).value)
const { url, port } = order
const database = openDatabase({ url })
const settings = readSettings({
  ...{ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${port}`, SOFTBOUNCE_RELAY_TLS: 'off', SOFTBOUNCE_RELAY_CONNECTION_LIMIT: '1000' },
  ...{ SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '1000/s', SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: '1000/s' },
  ...Object.fromEntries(['CONNECT', 'COMMAND', 'DATA', 'FINAL_DOT'].map((step) => [`SOFTBOUNCE_SMTP_TIMEOUTS_${step}`, '2s'])),
})
const log = { info() {}, warn() {}, error() {}, debug() {} }
const sessions = new ConnectionPool()
const { sendMessage } = createActivities({ settings, database, sessions, log, now: () => new Date(), searchAttributesKnown: () => true })

/** Repeats a step until it succeeds, as Temporal, a mail system and a provider do. */
async function untilDone(step) {
  for (;;)
    try {
      return await step()
    } catch (error) {
      await sleep(Math.min(error.nextRetryDelay ?? 200, LONGEST_PAUSE_MS))
    }
}

async function send(i, earlier) {
  const messageKey = await untilDone(() => storeMessage(database.db, contentOf(i), new Date()))
  say('stored', i, messageKey)
  const recipient = recipientOf(i)
  const input = {
    messageId: `m${i}@example.com`,
    sender: 'bounces@example.com',
    recipient,
    messageKey,
    destination: recipient.split('@')[1],
    retry: 1,
  }
  let { heartbeat, attempt } = earlier
  const { attempt: answer } = await untilDone(() => {
    attempt += 1
    // what Temporal keeps of an activity between its attempts
    const environment = new MockActivityEnvironment({ attempt, heartbeatDetails: heartbeat })
    environment.on('heartbeat', (details) => {
      heartbeat = details
      say('heartbeat', i, JSON.stringify(details ?? null))
    })
    return environment.run(sendMessage, { ...input, firstRunId: runOf(i) })
  })
  say('answered', i, answer.outcome)
}

async function storeWebhookAndSuppression(i) {
  await untilDone(() => addToInbox(database, 'postmark', [{ id: eventOf(i), content: '{}' }], new Date()))
  say('kept', i)
  const cause = { status: '5.1.1', reply: null, by: 'chaos', destination: null }
  await untilDone(() => database.db.transaction().execute((tx) => suppressLastingly(tx, goneAddressOf(i), 'rejected', cause, new Date())))
  say('suppressed', i)
}

if (order.check !== null) {
  await migrateToLatest(database)
  for (const text of await forgotten(database, order.check)) say('found', text)
}
say('ready')
const waiting = order.unanswered.map(({ i, ...earlier }) => send(i, earlier))
let next = order.next
let isStopping = false
lines.next().then(() => {
  isStopping = true
})
await Promise.all(
  Array.from({ length: LANES }, async () => {
    while (!isStopping && order.fresh) {
      const i = next
      next += 1
      say('began', i)
      await send(i, { attempt: 0 })
      if (i % 3 === 0) await storeWebhookAndSuppression(i)
    }
  }),
)
await Promise.all(waiting)
await sessions.end()
await database.close()
say('finished')
process.exit()
