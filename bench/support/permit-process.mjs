// One process of the permits bench: loops in parallel that acquire a permit and send a message, until time is up or the parent says stop.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { classifyResult, DEFAULT_TIMEOUTS, transact } from '../../dist/delivery/index.js'
import { openDatabase } from '../../dist/store/index.js'
import { acquire, classifyFeedback, releaseLeases, writeFeedback } from '../../dist/throttle/index.js'

const { url, port, at, forMs, limits, name } = JSON.parse(process.argv[2])
const settings = { limits, failuresBeforeDown: 5, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }
const database = openDatabase({ url: url })
const path = { kind: 'system', host: '127.0.0.1', port, tls: 'off' }
const content = Buffer.from('From: a@example.com\r\nMessage-ID: <m@example.com>\r\n\r\nhello\r\n')
const count = { sent: 0, polls: 0, errors: 0 }
// by this process's clock, from its start
let until = Date.now() + forMs
process.once('message', () => {
  until = 0
})

async function messages() {
  while (Date.now() < until) {
    const asker = { firstRunId: randomUUID(), retry: 1, workflowId: 'bench', leaseId: randomUUID(), hasConnection: false }
    for (;;) {
      const turn = await acquire(
        database,
        asker,
        [{ name, limits, needsConnection: true, fixed: false, nextHop: 'direct' }],
        settings,
      ).catch(() => {
        count.errors += 1
        return { kind: 'wait', askAgainMs: 100 }
      })
      count.polls += 1
      if (turn.kind === 'granted') break
      if (Date.now() + turn.askAgainMs > until) return
      await sleep(turn.askAgainMs)
    }
    const began = Date.now()
    const dialogue = await transact({
      ...{ path, ehloDomain: 'softbounce.example.com', timeouts: DEFAULT_TIMEOUTS, content },
      ...{ sender: 'bounces@example.com', recipient: 'ann@example.org', beforeContent: async () => true },
    })
    await releaseLeases(database, [asker.leaseId])
    const outcome = classifyResult(dialogue, path)
    count.sent += 1
    const lesson = classifyFeedback({ ...outcome, outcome: outcome.kind })
    await writeFeedback(
      database,
      { name, limits, lesson, answer: { ...outcome, outcome: outcome.kind }, tookMs: Date.now() - began },
      settings,
    ).catch(() => {})
  }
}
await Promise.all(Array.from({ length: at }, messages))
await database.close()
process.send(count)
process.disconnect()
