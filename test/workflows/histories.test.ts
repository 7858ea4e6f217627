/** Recorded histories of each outcome and version replay with the current workflow. */
import { readdirSync, readFileSync } from 'node:fs'
import { Worker } from '@temporalio/worker'
import { DeterminismViolationError } from '@temporalio/workflow'
import { afterAll, expect, test } from 'vitest'
import { quietRuntime, WORKFLOWS } from '../support/skipping-time.js'
import { writeCounted } from '../support/workflow-coverage.js'

const folder = new URL('../histories/', import.meta.url)
const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
const read = (file: string) => JSON.parse(readFileSync(new URL(file, folder), 'utf8'))
const workflowId = (file: string) => `bounce/ann@example.org/${file.replace(/^[\d.]+-|\.json$/g, '')}@example.com`

afterAll(writeCounted)

test('a recorded history exists for each outcome', () => {
  for (const outcome of [
    'delivered',
    'rejected-for-good',
    'rejected-message',
    'suppressed',
    'expired',
    'cancelled',
    'relay-unconfirmed',
    'relay-confirmed',
    'invalid',
  ])
    expect(
      files.some((file) => file.endsWith(`-${outcome}.json`)),
      outcome,
    ).toBe(true)
})

for (const file of files)
  test(`${file} replays`, async () => {
    quietRuntime()
    await Worker.runReplayHistory(WORKFLOWS, read(file), workflowId(file))
  })

test('replay detects a changed command', async () => {
  quietRuntime()
  const history = read('1.0.0-delivered.json')
  const scheduled = history.events.find((event: { eventType: string }) => event.eventType === 'EVENT_TYPE_ACTIVITY_TASK_SCHEDULED')
  scheduled.activityTaskScheduledEventAttributes.activityType.name = 'somethingElse'
  await expect(Worker.runReplayHistory(WORKFLOWS, history, workflowId('1.0.0-delivered.json'))).rejects.toThrow(DeterminismViolationError)
})

test('no recorded history names its machine, and only the first event carries the message', () => {
  for (const file of files) {
    const { events } = read(file)
    for (const event of events.slice(1)) {
      const payloads = [...JSON.stringify(event).matchAll(/"data":"([^"]*)"/g)].map(([, data]) =>
        Buffer.from(data ?? '', 'base64').toString(),
      )
      expect(
        payloads.some((text) => text.includes('Thank you.')),
        file,
      ).toBe(false)
      if (event.identity !== undefined) expect(event.identity).toBe('worker')
    }
  }
})
