// The flood, in a process of its own, so that its work is not measured as the intake's.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { openHttp, openLine } from './flood-clients.mjs'
import { bounceOf } from './intake.mjs'

/** Postfix opens at most 20 connections; one is the genuine sender's. */
const FLOOD_CONNECTIONS = 19
const seconds = (since) => (performance.now() - since) / 1000

/** A return path like ours, with a signature that is none. */
function forgedReturnPath() {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567'
  return `bounce+${[...randomBytes(39)].map((byte) => letters[byte % 32]).join('')}@example.com`
}

async function floodByLmtp(port, count) {
  const mail = bounceOf(0, 'shop@example.com')
  const began = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: FLOOD_CONNECTIONS }, async () => {
      const line = await openLine(port)
      while (next < count) {
        next += 1
        if ((await line.deliverToAll([forgedReturnPath()], mail)) !== 1) throw new Error('a forged bounce was not taken')
      }
      line.close()
    }),
  )
  return { perSecond: count / seconds(began), lasted: seconds(began) }
}

/** Posts at this rate, over connections that stay open. */
async function floodByHttp(port, rate, lastsSeconds) {
  const statuses = new Map()
  const began = performance.now()
  let posted = 0
  const lane = async () => {
    const http = await openHttp(port)
    for (;;) {
      const due = Math.floor(seconds(began) * rate)
      if (seconds(began) >= lastsSeconds) return http.close()
      if (posted >= due) {
        await sleep(2)
        continue
      }
      posted += 1
      const id = `00000000-0000-0000-0000-${String(posted).padStart(12, '0')}`
      const record = {
        RecordType: 'Delivery',
        Recipient: `d${posted}@example.org`,
        MessageID: id,
        DeliveredAt: '2026-11-29T10:00:00Z',
        Details: '250 OK',
        Metadata: {},
      }
      const status = await http.post(JSON.stringify(record))
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: 40 }, lane))
  return { statuses: [...statuses] }
}

const { kind, port, count, rate, lasts } = JSON.parse(process.argv[2])
const result = kind === 'lmtp' ? await floodByLmtp(port, count) : await floodByHttp(port, rate, lasts)
process.stdout.write(JSON.stringify(result))
process.exit()
