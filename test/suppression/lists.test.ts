/** Lists of addresses: filtered against the suppressions, and checked line by line. */
import { randomUUID } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { RecipientLists } from '../../src/client/recipient-lists.js'
import { checkList, type FilterOptions, filterList, suppressForUnavailability, suppressLastingly } from '../../src/suppression/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const HOUR = 3_600_000
const cause = { status: '4.3.2', reply: '=421 4.3.2 no', by: 'bounce/x/y', destination: 'example.org' }
const address = () => `${randomUUID()}@example.org`

/** A sink that takes one write at a time, so that whoever writes must wait. */
function slowSink(): Writable & { text: () => string } {
  const chunks: string[] = []
  const sink = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, done) {
      chunks.push(String(chunk))
      setImmediate(done)
    },
  })
  return Object.assign(sink, { text: () => chunks.join('') })
}

onBothDatabases('lists of addresses', (opened) => {
  const filter = async (input: Readable | string, options?: FilterOptions) => {
    const output = slowSink()
    const counts = await filterList(opened.database, typeof input === 'string' ? Readable.from([input]) : input, output, options)
    return { ...counts, text: output.text() }
  }
  const check = async (input: string, column?: string) => {
    const output = slowSink()
    const counts = await checkList(opened.database, Readable.from([input]), output, column === undefined ? {} : { column })
    return { counts, rows: output.text().trim().split('\n') }
  }
  const suppressed = async (who = address()) => {
    const now = new Date()
    await suppressForUnavailability(opened.database.db, who, cause, new Date(now.getTime() - HOUR), [24 * HOUR], now)
    return who
  }

  test('a suppressed address is left out, in any spelling; or only those are kept', async () => {
    const ann = await suppressed()
    const ben = address()
    const list = `${ann.toUpperCase().replace('@EXAMPLE.ORG', '@Example.ORG').toLowerCase()}\n${ben}\r\n\n  ${ann}  \nMia <${ann}>\n`
    expect(await filter(list)).toEqual({ lines: 4, suppressed: 3, unreadable: 0, text: `${ben}\r\n` })
    expect(await filter(list, { onlySuppressed: true })).toMatchObject({ suppressed: 3, text: `${ann}\n  ${ann}  \nMia <${ann}>\n` })
  })

  test('a program filters and checks a list by its client', async () => {
    const ann = await suppressed()
    const ben = address()
    const lists = new RecipientLists(opened.database)
    const list = () => Readable.from([`email;n\n${ann};1\n${ben};2\n`])
    const [toMail, checked] = [slowSink(), slowSink()]
    expect(await lists.filter(list(), toMail)).toMatchObject({ suppressed: 1 })
    expect(toMail.text()).toBe(`email;n\n${ben};2\n`)
    expect(await lists.check(list(), checked, { column: 'email' })).toMatchObject({ ok: 1, 'suppressed until': 1 })
    expect(checked.text()).toContain(ann)
  })

  test('a list that comes in pieces is read line by line', async () => {
    const ann = await suppressed()
    const ben = address()
    expect(await filter(Readable.from([ann.slice(0, 10), `${ann.slice(10)}\n${ben}`, '\n']))).toMatchObject({ lines: 2, text: `${ben}\n` })
  })

  test('of a CSV, the named column counts, for more rows than one batch', async () => {
    const ann = await suppressed()
    const rows = Array.from({ length: 2100 }, (_, i) => `${i},reader${i}@example.org`)
    const csv = ['id, email ', ...rows, `x,${ann}`, 'y', 'z,"Ann Lee"'].join('\n')
    await expect(filter(csv, { column: 'Email' })).rejects.toThrow('line 2103 holds no address that can be read: "y"')
    const unreadable = slowSink()
    const { text, ...counts } = await filter(csv, { column: 'email', unreadable })
    expect(unreadable.text()).toBe('id, email \ny\nz,"Ann Lee"\n')
    expect(counts).toEqual({ lines: 2103, suppressed: 1, unreadable: 2 })
    expect(text).not.toContain(ann)
    expect(text.split('\n')).toHaveLength(2102)
    await expect(filter(csv, { column: 'mail' })).rejects.toThrow('no column "mail"; its columns are "id", " email "')
  })

  test('a table without a named column, a line of a megabyte and a broken source are refused', async () => {
    await expect(filter('1,ann@example.org\n')).rejects.toThrow('is neither an address nor a header with a column email')
    await expect(filter('x'.repeat(1_000_001))).rejects.toThrow('longer than 1000000 characters')
    const broken = () =>
      new Readable({
        read() {
          this.destroy(new Error('the disk is gone'))
        },
      })
    await expect(filter(broken(), { column: 'email' })).rejects.toThrow('the disk is gone')
    await expect(checkList(opened.database, broken(), slowSink())).rejects.toThrow('the disk is gone')
  })

  test('each address of a list is judged', async () => {
    const now = new Date()
    const ann = await suppressed()
    const gone = address()
    await suppressLastingly(opened.database.db, gone, 'rejected', { ...cause, reply: '550 5.1.1 no' }, now)
    const manual = address()
    await suppressLastingly(opened.database.db, manual, 'manual', { ...cause, reply: null }, now)
    const { counts, rows } = await check(`name,E-Mail\nAnn,${ann}\nGone,${gone}\nManual,${manual}\nBen,${address()}\nNobody\n`)
    expect(rows[0]).toBe('name,E-Mail,softbounce,softbounce_time,softbounce_why')
    expect(rows[1]).toMatch(new RegExp(`^Ann,${ann},suppressed until,\\d{4}-.*Z,unavailable: =421 4.3.2 no$`))
    expect(rows[2]).toMatch(/,permanently rejected,.*,rejected: 550 5\.1\.1 no$/)
    expect(rows[3]).toMatch(/,suppressed until,lifted,manual$/)
    expect(rows[4]).toMatch(/,ok,,$/)
    expect(rows[5]).toBe('Nobody,,no address,,')
    expect(counts).toEqual({
      lines: 5,
      ok: 1,
      'suppressed until': 2,
      'permanently rejected': 1,
      'no address': 1,
      'system down since': 0,
      'often unavailable': 0,
    })
  })

  test('an address that was suppressed again and again is often unavailable', async () => {
    const { db } = opened.database
    const dan = address()
    const day = (n: number) => new Date(Date.now() - n * 24 * HOUR)
    for (const n of [40, 20]) await suppressForUnavailability(db, dan, cause, new Date(day(n).getTime() - HOUR), [HOUR], day(n))
    const { rows } = await check(`${dan}\n`)
    expect(rows[1]).toMatch(/,often unavailable,,"0 of 0 retries deferred, 2 times suppressed within 90 days"$/)
  })

  test('a list without a header, one of more than a batch, an empty one, and one whose column is not clear', async () => {
    const many = Array.from({ length: 1001 }, (_, i) => `r${i}@example.org`).join('\n')
    expect((await check(many)).counts).toMatchObject({ lines: 1001, ok: 1001 })
    expect((await check('ann@example.org,Ann\n')).rows[0]).toBe('address,,softbounce,softbounce_time,softbounce_why')
    expect((await check('')).counts.lines).toBe(0)
    await expect(check('name,town\nAnn,Bonn\n')).rejects.toThrow('name the column that holds the address (--column)')
    await expect(check('name,town\nAnn,Bonn\n', 'email')).rejects.toThrow('the list has no column "email"')
    expect((await check('who,town\nann@example.org,Bonn\n', 'who')).counts.ok).toBe(1)
  })
})
