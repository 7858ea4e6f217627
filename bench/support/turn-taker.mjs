// One process of the turns bench: so many messages at once that take turns and are sent, one after another, until it is told to stop.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_TIMEOUTS, judgeDialogue, transact } from '../../dist/delivery/index.js'
import { openDatabase } from '../../dist/store/index.js'
import { askTurn, learnFrom, lessonOf, releaseLease } from '../../dist/throttle/index.js'

const { url, port, at, forMs, limits, name } = JSON.parse(process.argv[2])
const settings = { limits, downAfter: 5, askEveryMs: 60_000, longestWaitMs: 15 * 60_000 }
const database = openDatabase(url)
const path = { kind: 'system', host: '127.0.0.1', port, tls: 'off' }
const content = Buffer.from('From: a@example.com\r\nMessage-ID: <m@example.com>\r\n\r\nhello\r\n')
const count = { sent: 0, lookUps: 0, errors: 0 }
// by its own clock, from when it has started
const until = Date.now() + forMs

async function messages() {
  while (Date.now() < until) {
    const asker = { firstRunId: randomUUID(), retry: 1, workflowId: 'bench', leaseId: randomUUID(), hasConnection: false }
    for (;;) {
      const turn = await askTurn(database, asker, [{ name, limits, needsConnection: true, fixed: false }], settings).catch(() => {
        count.errors += 1
        return { kind: 'wait', askAgainMs: 100 }
      })
      count.lookUps += 1
      if (turn.kind === 'taken') break
      if (Date.now() + turn.askAgainMs > until) return
      await sleep(turn.askAgainMs)
    }
    const began = Date.now()
    const dialogue = await transact({
      ...{ path, ehloName: 'softbounce.example.com', timeouts: DEFAULT_TIMEOUTS, content },
      ...{ sender: 'bounces@example.com', recipient: 'ann@example.org', beforeContent: async () => true },
    })
    await releaseLease(database, asker.leaseId)
    const outcome = judgeDialogue(dialogue, path)
    count.sent += 1
    const lesson = lessonOf({ ...outcome, outcome: outcome.kind })
    await learnFrom(
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
