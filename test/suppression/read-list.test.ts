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

describe('what could hide a suppressed address', () => {
  test('line ends are mixed: each row is a row', async () => {
    for (const text of [
      'email,name\r\nx@b.org,1\na@b.org,2\r\n',
      'email,name\nx@b.org,1\r\na@b.org,2',
      'email,name\rx@b.org,1\ra@b.org,2\r',
    ])
      expect((await read(text)).addresses, JSON.stringify(text)).toEqual(['x@b.org', 'a@b.org'])
  })

  test.each([
    'x@b.org;a@b.org\n',
    'x@b.org,a@b.org\n',
    '"Foo" <x@b.org>, "Bar" <a@b.org>\n',
    'mailto:x@b.org?cc=a@b.org\n',
    'mailto:x@b.org,a@b.org\n',
    'a@b.org <x@b.org>\n',
  ])('%j names two: none is chosen', async (text) => {
    const found = await read(text).catch((error: Error) => ({ addresses: [error.message] }))
    expect(found.addresses).not.toContain('x@b.org')
    expect(found.addresses).not.toContain('a@b.org')
  })

  test.each(['email,email\nx@b.org,a@b.org\n', 'address,email\nx@b.org,a@b.org\n'])(
    '%j: two columns could hold the address',
    async (text) => {
      await expect(read(text)).rejects.toThrow('could each hold the address: name one (--column)')
    },
  )

  test('a first row with an address is no header, and --column must name a header', async () => {
    expect((await read('a@b.org,email\nx@b.org,z\n')).addresses).toEqual(['a@b.org', 'x@b.org'])
    await expect(read('a@b.org,foo\nx@b.org,z\n', 'foo')).rejects.toThrow('no column "foo"')
    await expect(read('x@b.org\n', 'a@b.org')).rejects.toThrow('no column "a@b.org"')
  })

  test('an apostrophe of a spreadsheet is taken off; invisible characters inside make it unreadable', () => {
    expect(addressIn("'+ann@b.org")).toBe('+ann@b.org')
    for (const hidden of ['\u{e0061}', '\u{e0100}', '\u3164', '\uffa0', '\u2800', '\u180b', '\ufff9', '\u2065'])
      expect(addressIn(`a${hidden}nn@b.org`), hidden).toBeNull()
  })
})
