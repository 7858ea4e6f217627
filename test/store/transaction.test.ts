/** Transactions of several statements, on both databases. */
import { sql } from 'kysely'
import { describe, expect, inject, test } from 'vitest'
import { countRoundTrips } from '../../bench/support/round-trips.mjs'
import { beginSends, claimAttempt, openDatabase, recordAnswer, storeMessage, transact, useMessage } from '../../src/store/index.js'
import { onBothDatabases } from '../support/both-databases.js'
import { postgresDatabase, withoutPostgres } from '../support/databases.js'

const NOW = new Date('2026-11-29T12:00:00Z')
const LATER = new Date('2026-11-29T12:05:00Z')

onBothDatabases('a transaction', (opened) => {
  let n = 0
  const subject = () => {
    n += 1
    return {
      ...{ firstRunId: `tx-${n}`, retry: 1, workflowId: `w${n}`, messageId: `m${n}@example.com`, recipient: 'ann@example.org' },
      destination: 'd',
    }
  }

  test('of which one write fails changes nothing, and the database goes on', async () => {
    const { database } = opened
    const key = await storeMessage(database.db, Buffer.from('before'), NOW)
    const count = async () =>
      Number((await sql<{ n: number }>`select count(*) as n from ${sql.table('messages')}`.execute(database.db)).rows[0]?.n)
    const before = await count()
    const failing = transact(database, { durable: true }, (tx, commit) =>
      commit([
        storeMessage(tx, Buffer.from('one'), NOW),
        // a key twice
        tx
          .insertInto('messages')
          .values({ key, content: Buffer.from('x'), size: 1, stored_at: 0, used_at: 0 })
          .execute(),
        storeMessage(tx, Buffer.from('two'), NOW),
        storeMessage(tx, Buffer.from('three'), NOW),
      ]),
    )
    await expect(failing).rejects.toThrow(/unique|duplicate/i)
    expect(await count()).toBe(before)
    expect(await useMessage(database.db, key, LATER)).toBe(true)
  })

  test('stores a reply that was cut within a character, and one with NUL', async () => {
    const { database } = opened
    for (const [reply, kept] of [
      ['250 fine \ud83d', '250 fine \ufffd'],
      ['250 \udc00 fine', '250 \ufffd fine'],
      ['250 a\0b', '250 a\ufffdb'],
    ] as const) {
      const it = subject()
      await claimAttempt(database, it, 'claim', NOW, LATER)
      const answer = { at: NOW, outcome: 'accepted', status: '2.0.0', reply, stage: 'final dot', mailServer: null } as const
      const row = await recordAnswer(database.db, it, { ...answer, maybeDelivered: false, relayed: false })
      expect(row?.reply).toBe(kept)
    }
  })

  test('tells two sends of one row apart by their claims', async () => {
    const { database } = opened
    const it = subject()
    await claimAttempt(database, it, 'ours', NOW, LATER)
    const begin = (claim: string) => ({ key: it, claim, until: LATER })
    expect(await beginSends(database.db, [begin('ours'), begin('theirs')])).toEqual([true, false])
  })
})

describe.skipIf(withoutPostgres !== null)('in PostgreSQL', () => {
  test('a transaction takes a round trip for what it reads, and one for what it writes', async () => {
    const { url, close } = await postgresDatabase(inject('postgres') as string)
    const counted = await countRoundTrips(url)
    const database = openDatabase({ url: counted.url })
    const one = () =>
      transact(database, { durable: false }, async (tx, commit) => {
        await Promise.all([1, 2, 3].map((n) => sql`select ${n}::int`.execute(tx)))
        await commit([4, 5].map((n) => sql`select ${n}::int`.execute(tx)))
      })
    await one()
    counted.trips = 0
    await one()
    expect(counted.trips).toBe(2)
    await database.close()
    counted.close()
    await close()
  })
})
