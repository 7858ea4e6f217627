import type { ApplicationFailure } from '@temporalio/common'
import { MockActivityEnvironment } from '@temporalio/testing'
import { expect, test } from 'vitest'
import { createActivities } from '../../src/activities/index.js'
import { settingsFrom } from '../../src/config/index.js'
import { FailuresInARow } from '../../src/temporal/index.js'
import { sqliteDatabase } from '../support/databases.js'

const of = (activityId: string, runId = 'run') => ({ activityId, workflowExecution: { runId } })

test('failures in a row are counted for each activity, and a poll that waits ends the row', () => {
  const failed = new FailuresInARow()
  expect(failed.nextCount(of('2'))).toBe(1)
  failed.note(of('2'), true)
  failed.note(of('2'), true)
  expect(failed.nextCount(of('2'))).toBe(3)
  expect([failed.nextCount(of('3')), failed.nextCount(of('2', 'another run'))]).toEqual([1, 1])
  failed.note(of('2'), false)
  expect(failed.nextCount(of('2'))).toBe(1)
})

test('the oldest of very many are forgotten', () => {
  const failed = new FailuresInARow()
  for (let i = 0; i <= 100_000; i += 1) failed.note(of(String(i)), true)
  expect([failed.nextCount(of('0')), failed.nextCount(of('1')), failed.nextCount(of('100000'))]).toEqual([1, 2, 2])
})

test('a send that polled fifty times tries again within seconds of a fault of the database, then ever later', async () => {
  const { url, database, close } = await sqliteDatabase()
  const settings = settingsFrom({ database: { url }, relay: { url: 'smtp://127.0.0.1:9' } })
  const log = { info() {}, warn() {}, error() {}, debug() {} }
  const activities = createActivities({ settings, database, log, now: () => new Date(), searchAttributesKnown: () => true })
  const order = {
    ...{ firstRunId: 'run', retry: 1, messageId: 'm1@example.com', recipient: 'ann@example.org', sender: 'shop@example.com' },
    ...{ destination: 'example.org', messageKey: 'sha256-0', lateAtMs: Date.now() + 3_600_000 },
  }
  await close()
  const delays = []
  for (const attempt of [50, 51, 52]) {
    const sent = new MockActivityEnvironment({ attempt }).run(activities.sendMessage, order as never)
    const failure = await sent.catch((error: unknown) => error as ApplicationFailure)
    expect(failure).toMatchObject({ type: 'LocalFailure' })
    delays.push(Number((failure as ApplicationFailure).nextRetryDelay) / 5000)
  }
  expect(delays.map(Math.ceil)).toEqual([1, 2, 4])
})
