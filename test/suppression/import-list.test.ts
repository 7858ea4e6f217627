import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { beforeEach, expect, test } from 'vitest'
import { type ImportOptions, importSuppressions } from '../../src/suppression/import-list.js'
import { findSuppression, liftSuppression, suppressionHistory } from '../../src/suppression/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const NEVER = { already: 0, expired: 0, notSuppressed: 0, unreadable: 0 }

onBothDatabases('imported suppressions', (opened) => {
  let [ann, ben, cid] = ['', '', '']
  beforeEach(() => {
    ;[ann, ben, cid] = ['ann', 'ben', 'cid'].map((name) => `${name}-${randomUUID()}@example.org`) as [string, string, string]
  })
  const importing = (text: string, options: Partial<ImportOptions> = {}) =>
    importSuppressions(opened.database, Readable.from(text.match(/[\s\S]{1,7}/g) ?? []), { by: 'test', ...options })
  const found = (address: string) => findSuppression(opened.database.db, address, new Date())

  test.each([
    [
      'Amazon SES',
      () =>
        JSON.stringify({
          SuppressedDestinationSummaries: [
            { EmailAddress: ann, Reason: 'BOUNCE', LastUpdateTime: '2026-01-01' },
            { EmailAddress: ben, Reason: 'COMPLAINT' },
          ],
          NextToken: 'x',
        }),
      'rejected',
      'complaint',
    ],
    [
      'SendGrid',
      () => `email,created,reason,status\n${ann},1730000000,550 5.1.1 unknown,5.1.1\n${ben},1730000000,"552 5.2.2 full, really",5.2.2\n`,
      'rejected',
      'rejected',
    ],
    [
      'Mailgun',
      () =>
        JSON.stringify([
          { address: ann, code: '550', error: 'No such mailbox', created_at: 'Fri, 21 Oct 2026 11:02:55 GMT' },
          { address: ben, code: '605', error: '' },
        ]),
      'rejected',
      'rejected',
    ],
    [
      'Postmark',
      () =>
        `EmailAddress,SuppressionReason,Origin,CreatedAt\n${ann},HardBounce,Recipient,2026-01-01\n${ben},SpamComplaint,Recipient,2026-01-01\n`,
      'rejected',
      'complaint',
    ],
    [
      'Postal',
      () =>
        `type,address,reason,timestamp,keep_until\nrecipient,${ann},bounce,1730000000,4102444800\nrecipient,${ben},manual,1730000000,4102444800\n`,
      'rejected',
      'manual',
    ],
    [
      'listmonk',
      () => `uuid,email,name,attributes,status,created_at\n1,${ann},Ann,"{""a"":1}",blocklisted,2026\n2,${ben},Ben,{},blocklisted,2026\n`,
      'manual',
      'manual',
    ],
    ['Mautic', () => `id;email;firstname;dnc_reason;comments\n1;${ann};Ann;2;hard bounce\n2;${ben};Ben;1;\n`, 'rejected', 'manual'],
    [
      'JSON lines of our own',
      () =>
        `${JSON.stringify({ address: ann, reason: 'rejected', status: '5.1.1', reply: '550 no', until: null })}\n${JSON.stringify({ address: ben, reason: 'complaint', until: null })}\n`,
      'rejected',
      'complaint',
    ],
    [
      'our own CSV',
      () =>
        `address,reason,since,until,status,reply,destination,caused_by\n${ann},rejected,2026-01-01T00:00:00.000Z,,5.1.1,550 no,,x\n${ben},manual,2026-01-01T00:00:00.000Z,2099-01-01T00:00:00.000Z,,,,x\n`,
      'rejected',
      'manual',
    ],
  ] as const)('%s', async (_, text, first, second) => {
    expect(await importing(text())).toEqual({ rows: 2, imported: 2, ...NEVER })
    expect([(await found(ann))?.reason, (await found(ben))?.reason]).toEqual([first, second])
    // again it changes nothing
    expect(await importing(text())).toMatchObject({ rows: 2, imported: 0, already: 2 })
  })

  test('what is temporary, over, or not suppressed there, is not suppressed here', async () => {
    const text = `email,reason,status,until\n${ann},450 4.2.0 busy,4.2.0,\n${ben},bounce,,2020-01-01\nnobody,,,\n${cid},bounce,,2099-01-01\n`
    expect(await importing(text)).toEqual({ rows: 4, imported: 1, already: 0, expired: 1, notSuppressed: 1, unreadable: 1 })
    expect((await found(cid))?.until?.toISOString()).toBe('2099-01-01T00:00:00.000Z')
    expect(await importing(`email,status\n${ann},enabled\n${ben},blocklisted\n`)).toMatchObject({ imported: 1, notSuppressed: 1 })
  })

  test.each([
    ['a time that cannot be read', (a: string) => `email,until\n${a},31.12.2026\n`, 'unreadable'],
    ['a time that is over, in milliseconds', (a: string) => `email,until\n${a},1700000000000\n`, 'expired'],
    ['a temporary failure with such a time', (a: string) => `email,code,until\n${a},450,soon\n`, 'unreadable'],
    ['no address in the column, one elsewhere', (a: string) => `from,email\n${a},garbage\n`, 'unreadable'],
    ['a reply of class 4', (a: string) => `email,error\n${a},smtp; 452 4.2.2 mailbox full\n`, 'notSuppressed'],
    ['a soft bounce in another column', (a: string) => `email,reason,type\n${a},mailbox,soft\n`, 'notSuppressed'],
    ['a transient one of SES', (a: string) => JSON.stringify([{ email: a, bounceType: 'Transient' }]), 'notSuppressed'],
    ['contactable in Mautic', (a: string) => `email,doNotContact\n${a},0\n`, 'notSuppressed'],
    ['delivered', (a: string) => `email,status\n${a},delivered\n`, 'notSuppressed'],
  ] as const)('%s suppresses nobody', async (_, text, as) => {
    expect(await importing(text(ann))).toMatchObject({ rows: 1, imported: 0, [as]: 1 })
    expect(await found(ann)).toBeNull()
  })

  test('of two rows the stronger counts; --column holds for JSON too; nested objects are no records of their own', async () => {
    await importing(`email,reason,until\n${ann},complaint,\n${ann},manual,2099-01-01\n`)
    expect(await found(ann)).toMatchObject({ reason: 'complaint', until: null })
    await importing(JSON.stringify([{ email: ben, mailbox: cid }]), { column: 'mailbox' })
    expect(await found(ben)).toBeNull()
    expect(await found(cid)).not.toBeNull()
    expect(await importing(JSON.stringify({ email: ben, lists: [{ id: 1, email: `list-${ben}` }] }))).toMatchObject({
      rows: 1,
      imported: 1,
    })
    expect(await found(`list-${ben}`)).toBeNull()
    expect(await importing(JSON.stringify({ data: { results: [{ email: `deep-${ben}` }] } }))).toMatchObject({ rows: 1, imported: 1 })
    await expect(importing(JSON.stringify([ben]))).rejects.toThrow('holds no rows')
    await expect(importing(`[{"email":"${ben}"}] junk {"email":"x@example.org"}`)).rejects.toThrow('stands between records')
  })

  test('a plain list, with a reason and a time; a dry run only counts', async () => {
    const until = new Date('2099-06-01T00:00:00Z')
    expect(await importing(`${ann}\nBen <${ben}>\n`, { dryRun: true })).toEqual({ rows: 2, imported: 2, ...NEVER })
    expect(await found(ann)).toBeNull()
    await importing(`${ann}\nBen <${ben}>\n`, { reason: 'complaint', until })
    expect(await found(ben)).toMatchObject({ reason: 'complaint', until })
    expect(await suppressionHistory(opened.database.db, ben)).toMatchObject([{ change: 'suppressed', by: 'test' }])
    // a longer one replaces it, a shorter one does not
    expect(await importing(`${ann}\n`, { until: new Date('2098-01-01') })).toMatchObject({ already: 1 })
    expect(await importing(`${ann}\n`)).toMatchObject({ imported: 1 })
    expect((await found(ann))?.until).toBeNull()
    await opened.database.db.transaction().execute((tx) => liftSuppression(tx, ann, 'test', new Date()))
  })

  test('more rows than a batch; damaged JSON is refused', async () => {
    const many = Array.from({ length: 1203 }, (_, i) => JSON.stringify({ email: `${i}-${ann}`, nested: { a: [1] } })).join(',')
    const seen: number[] = []
    expect(await importing(`{"items":[${many}]}`, { progress: ({ rows }) => seen.push(rows) })).toMatchObject({
      rows: 1203,
      imported: 1203,
    })
    expect(seen).toEqual([500, 1000, 1203])
    await expect(importing('[{"email":"x@example.org"')).rejects.toThrow('it ends within a record')
    await expect(importing('[{"email":"x@example.org"]]')).rejects.toThrow('a bracket does not match')
  })
})
