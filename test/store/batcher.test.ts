/** Items that wait at the same moment are worked on together. */
import { expect, test } from 'vitest'
import { Batcher } from '../../src/store/index.js'

const later = () => new Promise((resolve) => setTimeout(resolve, 5))

test('what waits while others are worked on comes next, in order, with a result for each', async () => {
  const groups: (readonly number[])[] = []
  const commit = new Batcher<number, string>(async (items) => {
    groups.push(items)
    await later()
    return items.map((n) => `wrote ${n}`)
  }, 3)
  const results = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => commit.add(n)))
  expect(results).toEqual([1, 2, 3, 4, 5, 6].map((n) => `wrote ${n}`))
  expect(groups).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ])
  expect(await commit.add(7)).toBe('wrote 7')
})

test('an item that fails, fails alone', async () => {
  const commit = new Batcher<number, number>(async (items) => {
    await later()
    if (items.includes(3)) throw new Error('no three')
    return items
  }, 10)
  const results = await Promise.allSettled([1, 2, 3, 4].map((n) => commit.add(n)))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
})

test('a fault of the database fails all that wait with it at once, and each is not tried alone', async () => {
  let calls = 0
  const commit = new Batcher<number, number>(async () => {
    calls += 1
    await later()
    throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  }, 10)
  const results = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => commit.add(n)))
  expect(results.every(({ status }) => status === 'rejected')).toBe(true)
  expect(calls).toBe(1)
})
