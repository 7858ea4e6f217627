/** Schedules on trial: which message gets which, and how the report compares them. */
import { describe, expect, test } from 'vitest'
import { longestSchedule, parseTrialSchedules } from '../../src/bounce/index.js'
import { readSettings } from '../../src/config/config.js'
import { scheduleFor } from '../../src/delivery/index.js'
import { differenceOf, medianRanks, type TrialArm, trialOf, wilson } from '../../src/report/trial.js'
import { differenceInWords, trialText } from '../../src/report/trial-text.js'
import { onBothDatabases } from '../support/both-databases.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

describe('the schedule of a message', () => {
  const schedules = { scheduleMs: [1], trialSchedules: parseTrialSchedules({ '20 %': '30m, 2h', '5.5 %': '10m' }) }

  test('is the same each time, whichever way message and recipient are written; the shares are those of the settings', () => {
    const counts = new Map<string, number>()
    for (let i = 0; i < 20_000; i += 1) {
      const chosen = String(scheduleFor(schedules, `m${i}@example.com`, `p${i % 100}@example.org`))
      counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
      if (i % 1000 === 0) expect(String(scheduleFor(schedules, `<m${i}@example.com>`, `P${i % 100}@EXAMPLE.org`))).toBe(chosen)
    }
    expect(counts.get('1800000,7200000')).toBeGreaterThan(3800)
    expect(counts.get('1800000,7200000')).toBeLessThan(4200)
    expect(counts.get('600000')).toBeGreaterThan(1000)
    expect(counts.get('600000')).toBeLessThan(1200)
    expect(counts.get('1')).toBeGreaterThan(14_500)
  })

  test('comes from the settings, in the environment as in the file; the longest one counts for return paths', () => {
    const of = (schedules: string) => readSettings({ SOFTBOUNCE_RETRY_SCHEDULES: schedules })
    expect(of('20 %: 30m, 2h, 8h, 24h').trialSchedules).toEqual([{ share: 0.2, delaysMs: [0.5, 2, 8, 24].map((hours) => hours * HOUR_MS) }])
    expect(readSettings({}).trialSchedules).toEqual([])
    expect(longestSchedule(of('{ 5 %: 3d, 10 %: 1h }'))).toEqual([3 * DAY_MS])
    const days = (schedules: string) =>
      readSettings({ SOFTBOUNCE_RETRY_SCHEDULES: schedules, SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 1).toString('base64') })
        .returnPaths?.validDays as number
    expect(days('10 %: 30d, 30d') - days('10 %: 1h')).toBeGreaterThanOrEqual(8)
    for (const [wrong, said] of [
      ['a fifth: 1h', 'is not a share of the messages'],
      ['0 %: 1h', 'is not a share of the messages'],
      ['120 %: 1h', 'is not a share of the messages'],
      ['{ 60 %: 1h, 50 %: 2h }', 'add up to 110 %'],
      ['20 %: soon', 'schedule entry 1 ("soon")'],
    ] as const)
      expect(() => of(wrong), wrong).toThrow(said)
  })
})

test('the intervals are those of the literature', () => {
  // Newcombe 1998 (Statistics in Medicine 17): 81 of 263, and 56 of 70 less 48 of 80 (methods 3 and 10)
  const { from, to } = wilson(81, 263)
  expect([from.toFixed(4), to.toFixed(4)]).toEqual(['0.2553', '0.3662'])
  const difference = differenceOf(wilson(56, 70), wilson(48, 80))
  expect([difference.value, difference.from, difference.to].map((n) => n.toFixed(4))).toEqual(['0.2000', '0.0524', '0.3339'])
  expect(wilson(0, 0)).toEqual({ value: 0, from: 0, to: 1 })
  // the 40th to the 61st of a hundred values
  expect(medianRanks(100)).toEqual({ value: 49, from: 39, to: 60 })
  expect(medianRanks(5)).toBeNull()
})

onBothDatabases('the comparison', (opened) => {
  test('counts messages of the same time whose longest schedule is over', async () => {
    const { db } = opened.database
    const until = Date.UTC(2026, 5, 30)
    const window = { since: new Date(until - 30 * DAY_MS), until: new Date(until) }
    expect(await trialOf(opened.database, window)).toBeNull()
    const [long, short] = ['3600000,86400000', '1800000']
    let n = 0
    const message = async (
      schedule: string | null,
      startedAt: number,
      outcome: 'delivered' | 'suppressed' | 'rejected' | 'expired' | null,
    ) => {
      const run = `run${++n}`
      await db
        .insertInto('runs')
        .values({
          ...{ first_run_id: run, workflow_id: run, sent_id: run, destination: 'x.example', status: '4.3.2', message_key: 'k', schedule },
          ...{ bounced_at: startedAt, started_at: startedAt },
        })
        .execute()
      if (outcome === null) return
      await db
        .insertInto('outcomes')
        .values({
          ...{ message_id: run, recipient: 'p', workflow_id: run, first_run_id: run, outcome, confirmed: 1, suppressed_until: null },
          ended_at: startedAt + HOUR_MS,
        })
        .execute()
      const attempt = {
        first_run_id: run,
        workflow_id: run,
        message_id: run,
        recipient: 'p',
        destination: 'x.example',
        begun_at: startedAt,
      }
      await db
        .insertInto('attempts')
        .values({
          ...{
            ...attempt,
            retry: 1,
            sends: 1,
            maybe_delivered: 0,
            relayed: 0,
            at: startedAt + HOUR_MS,
            outcome: 'accepted',
            status: '2.0.0',
          },
          ...{ reply: '-', stage: 'banner' },
        })
        .execute()
    }
    const began = until - 10 * DAY_MS
    // before the trial, of an own schedule, rejected, open, too young: none of these counts
    for (let i = 0; i < 50; i += 1) await message(long, began - DAY_MS, 'delivered')
    await message(null, began + HOUR_MS, 'delivered')
    await message(short, began, 'suppressed')
    for (let i = 0; i < 60; i += 1) await message(long, began + i * 8 * 60_000, i < 54 ? 'delivered' : i < 57 ? 'expired' : 'suppressed')
    for (let i = 0; i < 20; i += 1) await message(short, began + i * 25 * 60_000, i < 9 ? 'delivered' : 'suppressed')
    await message(long, began + HOUR_MS, 'rejected')
    await message(short, began + HOUR_MS, null)
    await message(short, until - 12 * HOUR_MS, 'delivered')
    // one that began yesterday, and one that was replaced before the trial, are not compared
    await message('60000', until - 20 * HOUR_MS, 'delivered')
    await message('120000', began - 2 * DAY_MS, 'delivered')
    const trial = await trialOf(opened.database, window)
    expect(trial).toMatchObject({
      since: new Date(began).toISOString(),
      arms: [
        { delaysMs: [3_600_000, 86_400_000], messages: 60, delivered: 54, share: { value: 0.9 }, difference: null, retriesEach: 1 },
        { delaysMs: [1_800_000], messages: 20, delivered: 9, medianMs: { value: HOUR_MS } },
      ],
    })
    const arm = trial?.arms[1] as TrialArm
    expect(arm.difference?.to).toBeLessThan(0)
    expect(differenceInWords(arm)).toMatch(/^−45\.0 \(−\d+\.\d to −\d+\.\d\)$/)
    const text = trialText(trial).join('\n')
    expect(text).toContain('30 min delivers less than the first: −45.0 (−')
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    expect(await trialOf(opened.database, { ...window, destination: 'other.example' })).toBeNull()
  })
})
