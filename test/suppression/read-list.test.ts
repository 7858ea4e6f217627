import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { addressIn, openList } from '../../src/suppression/read-list.js'

const read = async (input: string | Buffer | readonly Buffer[], column?: string) => {
  const list = await openList(Readable.from(Array.isArray(input) ? input : [input]), column)
  const rows = []
  for await (const batch of list.rows) rows.push(...batch)
  return { ...list, rows, addresses: rows.map(({ address }) => address) }
}

describe('the address in a cell', () => {
  test.each([
    'ann@example.org',
    ' Ann@Example.ORG ',
    'Ann Lee <ann@example.org>',
    '"Lee, Ann" <ann@example.org>',
    '<ann@example.org>',
    'mailto:ann@example.org',
    'MAILTO:ann@example.org?subject=Hello',
    'mailto:ann%40example.org',
    '\u200bann@example.org\u200b',
    '\ufeffann@example.org',
    '\u00a0ann@example.org\u2060\u00ad',
    'Ann <\u200eann@example.org\u200f>',
  ])('%j', (text) => expect(addressIn(text)?.toLowerCase()).toBe('ann@example.org'))

  test.each([
    '',
    'Ann',
    'ann@',
    'ann@example.org, ben@example.org',
    'Ann <ann@example.org> <ben@example.org>',
    'an\u200bn@example.org',
    'ann@exam\u00adple.org',
  ])('%j holds none', (text) => expect(addressIn(text)).toBeNull())
})

describe('a list', () => {
  const csv = 'Name;E-Mail\r\n"Lee; Ann";ann@example.org\r\nBen;<ben@example.org>\r\n'

  test.each([
    ['UTF-8', Buffer.from(csv)],
    ['UTF-8 with a BOM', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(csv)])],
    ['UTF-16LE with a BOM', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(csv, 'utf16le')])],
    ['UTF-16BE with a BOM', Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(csv, 'utf16le').swap16()])],
    ['UTF-16LE', Buffer.from(csv, 'utf16le')],
    ['UTF-16BE', Buffer.from(csv, 'utf16le').swap16()],
    ['tabs', Buffer.from(csv.replaceAll(';', '\t').replace('"Lee\t Ann"', 'Ann'))],
  ])('%s, in one piece and byte by byte', async (_, bytes) => {
    for (const input of [bytes, [...bytes].map((byte) => Buffer.from([byte]))]) {
      const { addresses, columns } = await read(input)
      expect(addresses).toEqual(['ann@example.org', 'ben@example.org'])
      expect(columns).toEqual(['Name', 'E-Mail'])
    }
  })

  test('the column is found without regard to case, and by usual names', async () => {
    expect((await read('id,EMAIL\n1,ann@example.org\n')).addresses).toEqual(['ann@example.org'])
    expect((await read('id,Contact\n1,ann@example.org\n', 'contact')).addresses).toEqual(['ann@example.org'])
    await expect(read('id,Contact\n1,ann@example.org\n')).rejects.toThrow('(--column)')
    await expect(read('id,Contact\n1,x\n', 'email')).rejects.toThrow('no column "email"; its columns are "id", "Contact"')
  })

  test('without a header: addresses alone, with names, or in the first column', async () => {
    expect((await read('ann@example.org\nBen <ben@example.org>\n\nx')).addresses).toEqual(['ann@example.org', 'ben@example.org', null])
    expect((await read('"Lee, Ann" <ann@example.org>\n')).addresses).toEqual(['ann@example.org'])
    expect((await read('ann@example.org,Ann\nben@example.org,Ben\n')).addresses).toEqual(['ann@example.org', 'ben@example.org'])
    expect((await read('')).addresses).toEqual([])
    expect((await read('email\nann@example.org\n')).addresses).toEqual(['ann@example.org'])
  })

  test('each row keeps its line and its text; what is no text is refused', async () => {
    const { rows, header } = await read('email,name\nann@example.org,"Ann\nLee"\nben@example.org,Ben')
    expect(header).toBe('email,name\n')
    expect(rows.map(({ text }) => text)).toEqual(['ann@example.org,"Ann\nLee"\n', 'ben@example.org,Ben\n'])
    await expect(read(Buffer.from('email,name\nann@example.org,M\xfcller\n', 'latin1'))).rejects.toThrow(
      'not valid UTF-8: save it as UTF-8',
    )
  })
})
