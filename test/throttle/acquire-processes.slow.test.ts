/** Permits across real processes with clock skew: the receiving system's own log is checked against the rate limit. */
import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { onBothDatabases } from '../support/both-databases.js'
import { startReceivingSystem } from '../support/receiving-system.js'

const TAKER = fileURLToPath(new URL('../../bench/support/permit-process.mjs', import.meta.url))
const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib/faketime', '/usr/local/lib/faketime']
  .flatMap((folder) => [join(folder, 'faketime', 'libfaketime.so.1'), join(folder, 'libfaketime.so.1')])
  .find((file) => existsSync(file))
const RATE = 20
const CONNECTIONS = 2
/** Sends that end a run: a busy machine takes longer, and proves as much. */
const SENDS = 60

/** The maximum number of `times` in any window of this length. */
function mostIn(times: readonly number[], windowMs: number): number {
  return Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length))
}

onBothDatabases('promise 4: however many processes want to send', (opened) => {
  const run = async (processes: number, aheadBy: (i: number) => number) => {
    const children: ChildProcess[] = []
    let sends = 0
    const message = () => {
      sends += 1
      if (sends === SENDS) for (const child of children) if (child.connected) child.send('stop')
      return undefined
    }
    const system = await startReceivingSystem({ message })
    const limits = { minMessageRate: RATE, maxMessageRate: RATE, connections: CONNECTIONS, maxDeliveriesPerConnection: 1 }
    const counts = await Promise.all(
      Array.from({ length: processes }, (_, i) => {
        const ahead = aheadBy(i)
        const env = ahead === 0 ? process.env : { ...process.env, LD_PRELOAD: FAKETIME, FAKETIME: `+${ahead}s`, DONT_FAKE_MONOTONIC: '1' }
        const order = {
          url: opened.url,
          port: system.port,
          at: 5,
          forMs: 100_000,
          limits,
          name: `d${processes}-${aheadBy(1)}.example`,
        }
        const child = fork(TAKER, [JSON.stringify(order)], { env: env as NodeJS.ProcessEnv })
        children.push(child)
        return new Promise<{ sent: number; polls: number; errors: number }>((resolve, reject) => {
          child.once('message', (count) => resolve(count as { sent: number; polls: number; errors: number }))
          child.once('exit', (code) => code !== 0 && reject(new Error(`a process ended with ${code}`)))
        })
      }),
    )
    await system.close()
    const times = system.taken.map(({ at }) => at)
    for (const windowMs of [1000, 2000, 5000])
      expect(mostIn(times, windowMs), `${windowMs} ms`).toBeLessThanOrEqual((RATE * windowMs) / 1000)
    expect(system.mostOpen).toBeLessThanOrEqual(CONNECTIONS)
    // and not because little was sent
    expect(times.length).toBeGreaterThanOrEqual(SENDS)
    expect(counts.reduce((sum, { sent }) => sum + sent, 0)).toBe(times.length)
  }

  test('the receiving system’s own log never exceeds the rate limit in any window', () => run(4, () => 0))

  // SQLite uses its process's clock; processes that share its file share a machine and its clock
  if (opened.kind === 'postgres')
    test.skipIf(FAKETIME === undefined)(
      `a clock skew of 2 s changes nothing, as the database’s clock decides${FAKETIME === undefined ? ' (faketime is not installed)' : ''}`,
      () => run(4, (i) => (i % 2) * 2),
    )
})
