import { expect, test } from 'vitest'
import { FailuresInARow } from '../../src/temporal/index.js'

const of = (activityId: string, runId = 'run') => ({ activityId, workflowExecution: { runId } })

test('failures in a row are counted for each activity, and a poll that waits ends the row', () => {
  const failed = new FailuresInARow()
  expect(failed.next(of('2'))).toBe(1)
  failed.note(of('2'), true)
  failed.note(of('2'), true)
  expect(failed.next(of('2'))).toBe(3)
  expect([failed.next(of('3')), failed.next(of('2', 'another run'))]).toEqual([1, 1])
  failed.note(of('2'), false)
  expect(failed.next(of('2'))).toBe(1)
})

test('the oldest of very many are forgotten', () => {
  const failed = new FailuresInARow()
  for (let i = 0; i <= 10_000; i += 1) failed.note(of(String(i)), true)
  expect([failed.next(of('0')), failed.next(of('1')), failed.next(of('10000'))]).toEqual([1, 2, 2])
})
