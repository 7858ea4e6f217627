/** Shared state other than the attempt log: mailboxes, policies, releases, manual limits, waiting webhooks. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  addToInbox,
  advanceImapCursor,
  claimAttempt,
  type Database,
  findPolicy,
  holdImapCursor,
  keepPolicy,
  nextInboxRow,
  postponeInboxRow,
  recordAnswer,
  recordReport,
  releaseImapCursor,
} from '../../src/store/index.js'
import {
  beginRelease,
  destinations,
  findRelease,
  lastRetries,
  limitDestination,
  pause,
  pausedNow,
  recordRelease,
  resume,
} from '../../src/throttle/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const START = 1_800_000_000_000
const MINUTE = 60_000
const at = (ms: number) => new Date(START + ms)
const system = () => `${randomUUID().slice(0, 8)}.example`
/** The database with a simulated clock. */
function atTime(database: Database) {
  const time = { ms: START }
  return { time, database: { ...database, clock: () => new Date(time.ms) } as Database }
}

onBothDatabases('processes that share a database', (opened) => {
  describe('a mailbox', () => {
    test('one process at a time reads a mailbox, and the next continues at the same position', async () => {
      const { database, time } = atTime(opened.database)
      const name = randomUUID()
      expect(await holdImapCursor(database, name, 'a', MINUTE)).toEqual({ uidValidity: null, lastUid: 0, markedUid: 0, unreadable: [] })
      expect(await holdImapCursor(database, name, 'b', MINUTE)).toBeNull()
      const place = { uidValidity: '7', lastUid: 12, markedUid: 10, unreadable: [4, 11] }
      expect(await advanceImapCursor(database, name, 'a', place)).toBe(true)
      expect(await holdImapCursor(database, name, 'a', MINUTE)).toEqual(place)
      // its lease has expired
      time.ms += MINUTE + 1
      expect(await holdImapCursor(database, name, 'b', MINUTE)).toEqual(place)
      expect(await advanceImapCursor(database, name, 'a', { ...place, lastUid: 99 })).toBe(false)
      expect(await holdImapCursor(database, name, 'a', MINUTE)).toBeNull()
      await releaseImapCursor(database, name, 'a')
      expect(await holdImapCursor(database, name, 'a', MINUTE)).toBeNull()
      await releaseImapCursor(database, name, 'b')
      expect(await holdImapCursor(database, name, 'a', MINUTE)).toEqual(place)
    })
  })

  describe('a policy', () => {
    test('only the latest policy of a domain is kept', async () => {
      const { db } = opened.database
      const domain = system()
      expect(await findPolicy(db, domain)).toBeNull()
      const policy = { id: '1', mode: 'enforce' as const, mx: ['mx1.example', '*.mx.example'], fetchedAt: at(0), expiresAt: at(MINUTE) }
      await keepPolicy(db, domain, policy)
      expect(await findPolicy(db, domain)).toEqual(policy)
      const next = { ...policy, id: '2', mode: 'none' as const, mx: [], expiresAt: at(2 * MINUTE) }
      await keepPolicy(db, domain, next)
      expect(await findPolicy(db, domain)).toEqual(next)
    })
  })

  describe('a release', () => {
    test('a release is found with its current progress', async () => {
      const { db } = opened.database
      const name = system()
      expect(await findRelease(db, name)).toBeNull()
      await beginRelease(db, name, 1000, 'ann', at(0), MINUTE)
      await recordRelease(db, name, 2)
      expect(await findRelease(db, name)).toEqual({
        ...{ destination: name, beganAt: at(0), withinMs: 1000, by: 'ann', released: 2, endedAt: null },
      })
      await recordRelease(db, name, 1, at(500))
      expect(await findRelease(db, name)).toMatchObject({ released: 3, endedAt: at(500) })
    })

    test('the last answered retry of each workflow is found with its time, including answers by notification', async () => {
      const { database } = opened
      const [one, two, none] = [randomUUID(), randomUUID(), randomUUID()]
      const subject = (workflowId: string, retry: number) => ({
        ...{ firstRunId: workflowId, retry, workflowId, messageId: 'm', recipient: 'ann@example.org', destination: 'example.org' },
      })
      const answer = (ms: number) => ({
        ...{ at: at(ms), outcome: 'deferred' as const, status: '4.3.2', reply: 'no', stage: 'banner' as const, mailServer: 'mx' },
        ...{ maybeDelivered: false, relayed: false },
      })
      for (const [workflowId, retry, ms] of [
        [one, 1, 10],
        [one, 2, 20],
        [two, 1, 30],
      ] as const) {
        await claimAttempt(database, subject(workflowId, retry), 'a', at(0), at(MINUTE))
        await recordAnswer(database.db, subject(workflowId, retry), answer(ms))
      }
      await claimAttempt(database, subject(one, 3), 'a', at(0), at(MINUTE))
      await recordReport(database.db, subject(two, 1), { at: at(50), status: '4.4.7', reply: null })
      expect(await lastRetries(database.db, [one, two, none])).toEqual(
        new Map([
          [one, { retry: 2, at: at(20) }],
          [two, { retry: 1, at: at(50) }],
        ]),
      )
      expect(await lastRetries(database.db, [])).toEqual(new Map())
    })
  })

  describe('limits and pauses by hand', () => {
    const limited = async (database: Database, name: string) => (await destinations(database, 1, name))[0]?.limited
    test('manual limits are changed one by one, and removed', async () => {
      const { database } = atTime(opened.database)
      const name = system()
      await limitDestination(database, name, 'ann', { connections: 3 })
      expect(await limited(database, name)).toMatchObject({ rate: null, connections: 3, by: 'ann' })
      await limitDestination(database, name, 'bob', { rate: 2 })
      expect(await limited(database, name)).toMatchObject({ rate: 2, connections: 3, by: 'bob' })
      await limitDestination(database, name, 'bob', { connections: null })
      expect(await limited(database, name)).toMatchObject({ rate: 2, connections: null, by: 'bob' })
      await limitDestination(database, name, 'bob', { rate: null })
      expect(await limited(database, name)).toBeNull()
    })

    test('a destination is paused by its own or the global pause', async () => {
      const { database } = atTime(opened.database)
      const [name, other] = [system(), system()]
      expect(await pausedNow(database.db, name)).toBeNull()
      await pause(database, 'ann', name)
      expect(await pausedNow(database.db, name)).toEqual({ name, since: at(0), by: 'ann' })
      expect(await pausedNow(database.db, other)).toBeNull()
      await pause(database, 'bob')
      expect(await pausedNow(database.db, other)).toEqual({ name: '*', since: at(0), by: 'bob' })
      await resume(database)
      await resume(database, name)
      expect(await pausedNow(database.db, name)).toBeNull()
    })
  })

  describe('notifications that wait', () => {
    test('failures before routine news, and each in the order of their times, postponed ones too', async () => {
      const { database } = opened
      const next = async () => (await nextInboxRow(database, ['mailgun'], MINUTE))?.id
      const add = (id: string, isRoutine: boolean) => addToInbox(database, 'mailgun', [{ id, content: '{}', isRoutine }], new Date())
      await add('postponed', false)
      const row = await nextInboxRow(database, ['mailgun'], MINUTE)
      await postponeInboxRow(database, row as NonNullable<typeof row>, 50)
      await add('news', true)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await add('failure', false)
      expect([await next(), await next(), await next(), await next()]).toEqual(['postponed', 'failure', 'news', undefined])
    })

    test('each webhook is taken once by one of many concurrent readers', async () => {
      const { database } = opened
      const ids = Array.from({ length: 12 }, () => randomUUID())
      const notifications = ids.map((id) => ({ id, content: '{}' }))
      expect(await addToInbox(database, 'ses', notifications, new Date())).toEqual({ fresh: 12, conflicts: [] })
      const takers = Array.from({ length: 6 }, async () => {
        const mine: string[] = []
        for (let next = await nextInboxRow(database, ['ses'], MINUTE); next !== null; next = await nextInboxRow(database, ['ses'], MINUTE))
          mine.push(next.id)
        return mine
      })
      expect((await Promise.all(takers)).flat().sort()).toEqual(ids.sort())
    })
  })
})
