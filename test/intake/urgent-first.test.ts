/** Genuine bounces are processed at once; mail of strangers waits for them, and is spread over time. */
import { expect, test } from 'vitest'
import { UrgentFirst } from '../../src/intake/urgent-first.js'

/** A promise, and what resolves it. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}
const soon = () => new Promise((resolve) => setTimeout(resolve, 20))

test('strangers wait while a genuine bounce is processed, and go on when it has ended', async () => {
  const lanes = new UrgentFirst({ together: 4, aSecond: 1000 })
  const { open, opened } = gate()
  const done: string[] = []
  const genuine = lanes.urgent(async () => {
    await opened
    done.push('genuine')
  })
  const stranger = lanes.other(async () => void done.push('stranger'))
  // another genuine one does not wait
  await lanes.urgent(async () => void done.push('second genuine'))
  await soon()
  expect(done).toEqual(['second genuine'])
  open()
  await Promise.all([genuine, stranger])
  expect(done).toEqual(['second genuine', 'genuine', 'stranger'])
})

test('a few strangers at once; one that fails makes room for the next', async () => {
  const lanes = new UrgentFirst({ together: 4, aSecond: 1000 })
  let running = 0
  let most = 0
  const step = async (i: number) => {
    running += 1
    most = Math.max(most, running)
    await soon()
    running -= 1
    if (i % 2 === 0) throw new Error('it failed')
  }
  const results = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => lanes.other(() => step(i))))
  expect(most).toBe(4)
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(6)
})

test('a flood is spread to a thousand a second', async () => {
  const lanes = new UrgentFirst({ together: 4, aSecond: 1000 })
  const began = performance.now()
  await Promise.all(Array.from({ length: 300 }, () => lanes.other(async () => {})))
  // 50 come at once
  expect(performance.now() - began).toBeGreaterThan(200)
})

test('what has waited long enough for urgent work goes on, and still only a few at once', async () => {
  const lanes = new UrgentFirst({ together: 4 })
  const { open, opened } = gate()
  const urgent = lanes.urgent(() => opened)
  let running = 0
  let most = 0
  let done = 0
  const others = Array.from({ length: 12 }, () =>
    lanes.other(async () => {
      running += 1
      most = Math.max(most, running)
      await soon()
      running -= 1
      done += 1
    }),
  )
  await soon()
  expect(done).toBe(0)
  await Promise.all(others)
  expect([done, most]).toEqual([12, 4])
  open()
  await urgent
})
