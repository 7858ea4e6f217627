// The lives of the whole bench: what the receiving system says, and how a life of softbounce and its bare counterpart are started.
import { setTimeout as sleep } from 'node:timers/promises'
import nodemailer from 'nodemailer'
import { track } from '../../dist/track.js'

const DELAYS_MS = [1000, 1000, 1000, 1000]
const SCHEDULE = DELAYS_MS.map((ms) => `${ms / 1000}s`)
const NOT_NOW = '451 4.3.2 System not accepting network messages'
const KEY = Buffer.alloc(32, 7).toString('base64')
const text = 'Thank you for your order.\r\n'.repeat(40)

/** Few recipients of each destination, so that none of them counts as down. */
const recipientOf = (who, i, run) => `${who}${i}@${run}${i % 40}.example`

const started = (context, i, run) => {
  const [recipient, messageId] = [recipientOf('r', i, run), `${run}.${i}@example.com`]
  const raw = `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <${messageId}>\r\n\r\n${text}`
  const bounce = { status: '4.3.2', bouncedAt: new Date().toISOString(), diagnostic: NOT_NOW }
  return context.client.workflow.start('retryBouncedMessage', {
    ...{ taskQueue: 'softbounce', workflowId: `bounce/${recipient}/${messageId}` },
    args: [{ messageId, recipient, sender: 'bounces@example.com', message: { raw }, bounce, schedule: SCHEDULE }],
  })
}

const bareStarted = ({ client }, i, run, more = {}) =>
  client.workflow.start('bareLife', {
    ...{ taskQueue: 'bare', workflowId: `bare/${run}/${i}` },
    args: [{ recipient: recipientOf('bare', i, run), delaysMs: DELAYS_MS, ...more }],
  })

/** Waits until the sink has taken the message of this recipient. */
async function untilTaken({ sink }, recipient) {
  while (!sink.taken.some(({ to }) => to === recipient)) await sleep(200)
}

/** The handle of a workflow that another process starts. */
async function startedElsewhere({ client }, workflowId) {
  for (const handle = client.workflow.getHandle(workflowId); ; await sleep(200))
    if (await handle.describe().then(Boolean, () => false)) return handle
}

/** By name: `refusals`, how often each recipient is refused; `outcome`, how the life ends; `softbounce` and `bare` start one. */
export const LIVES = {
  'suppressed after 4 retries': { refusals: 4, outcome: 'suppressed', softbounce: started, bare: bareStarted },
  'delivered at retry 2': { refusals: 1, outcome: 'delivered', softbounce: started, bare: bareStarted },
  'confirmed through a relay': {
    refusals: 0,
    outcome: 'delivered',
    env: ({ sink }) => ({ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${sink.port}`, SOFTBOUNCE_RELAY_TLS: 'off' }),
    softbounce: async (context, i, run) => {
      const handle = await started(context, i, run)
      await untilTaken(context, recipientOf('r', i, run))
      await sleep(1000)
      await handle.signal('bouncedAgain', { status: '2.0.0', action: 'delivered', bouncedAt: new Date().toISOString() })
      return handle
    },
    bare: async (context, i, run) => {
      const handle = await bareStarted(context, i, run, { isConfirmed: true })
      await untilTaken(context, recipientOf('bare', i, run))
      await sleep(1000)
      await handle.signal('confirmed')
      return handle
    },
  },
  'a refused sendMail, handed over': {
    // the first refusal is the application's
    refusals: 1,
    outcome: 'delivered',
    env: () => ({ SOFTBOUNCE_RETURN_PATH_KEYS: KEY }),
    softbounce: async (context, i, run) => {
      context.tracked ??= track(nodemailer.createTransport({ host: '127.0.0.1', port: context.sink.port, pool: true, ignoreTLS: true }), {
        ...{ database: { url: context.url }, returnPath: { keys: [KEY] } },
      })
      const mail = { from: 'shop@example.com', to: recipientOf('r', i, run), messageId: `<${run}.${i}@example.com>`, text }
      const { retries } = await context.tracked.sendMail({ ...mail, softbounce: { schedule: SCHEDULE } })
      return startedElsewhere(context, retries[0].workflowId)
    },
    bare: async (context, i, run) => {
      context.pool ??= nodemailer.createTransport({ host: '127.0.0.1', port: context.sink.port, pool: true, ignoreTLS: true })
      const refused = await context.pool.sendMail({ from: 'shop@example.com', to: recipientOf('bare', i, run), text }).then(
        () => false,
        () => true,
      )
      if (!refused) throw new Error('the first try was not refused')
      return bareStarted(context, i, run)
    },
  },
}

/** What the receiving system says to each recipient. */
export function repliesOf({ refusals }) {
  const asked = new Map()
  return (address) => {
    const n = (asked.get(address) ?? 0) + 1
    asked.set(address, n)
    return n <= refusals ? NOT_NOW : undefined
  }
}
