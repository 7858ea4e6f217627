// Filters a list against a million suppressed addresses (SQLite): addresses per second, and memory.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { filterList } from '../dist/suppression/index.js'

const SUPPRESSED = 1_002_000
const ADDRESSES = 1_000_000
const SUPPRESSED_IN_LIST = ADDRESSES / 2

/** Every second address of the list is suppressed. */
const address = (i) => `person.${i}@domain${i % 1000}.example.org`

async function fill(database) {
  const BATCH = 3_000
  for (let from = 0; from < SUPPRESSED; from += BATCH)
    await database.db
      .insertInto('suppressions')
      .values(
        Array.from({ length: BATCH }, (_, i) => ({
          address: address((from + i) * 2),
          reason: 'unavailable',
          status: '4.3.2',
          reply: '421 4.3.2 System not accepting network messages',
          caused_by: 'bench',
          destination: null,
          step: 0,
          since: 0,
          until: null,
          lifted_at: null,
        })),
      )
      .execute()
}

function* text() {
  let chunk = ''
  for (let i = 0; i < ADDRESSES; i += 1) {
    chunk += `${address(i)}\n`
    if (chunk.length > 60_000) {
      yield chunk
      chunk = ''
    }
  }
  yield chunk
}

function* csv() {
  yield 'name,email,city\n'
  for (const chunk of text()) yield chunk.replace(/^(.+)$/gm, '"Person, A",$1,Town')
}

export async function filter() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const database = openDatabase({ url: `file:${join(folder, 'softbounce.db')}` })
  try {
    await migrateToLatest(database)
    await fill(database)
    const rows = []
    for (const [name, list, options] of [
      ['text', text, {}],
      ['CSV', csv, { column: 'email' }],
    ]) {
      let bytes = 0
      let peak = 0
      const before = process.memoryUsage().rss
      const output = new Writable({
        write: (chunk, _encoding, done) => {
          bytes += chunk.length
          peak = Math.max(peak, process.memoryUsage().rss)
          done()
        },
      })
      const began = process.hrtime.bigint()
      const counts = await filterList(database, Readable.from(list()), output, options)
      const seconds = Number(process.hrtime.bigint() - began) / 1e9
      if (counts.suppressed !== SUPPRESSED_IN_LIST || bytes === 0) throw new Error(`the filter is wrong: ${JSON.stringify(counts)}`)
      rows.push({
        bench: `filter ${name}`,
        'addresses/s': Math.round(ADDRESSES / seconds),
        'MiB more than before': Math.round((peak - before) / 2 ** 20),
      })
    }
    return rows
  } finally {
    await database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
