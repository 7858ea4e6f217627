/**
 * A mail taken apart: its fields, and its parts with their contents decoded. Taking apart is mailsplit's work; what is bounded here is how
 * much of a hostile mail is looked at.
 */
import { decode as decodeQuotedPrintable } from 'libqp'
import { type BodyChunk, Headers, type Node, Splitter } from 'mailsplit'

/** Fields of a head by their names in lower case. */
export class Fields {
  readonly #values = new Map<string, string[]>()

  constructor(lines: Iterable<{ readonly key: string; readonly line: string }>) {
    for (const { key, line } of lines) {
      const value = unfolded(line.slice(line.indexOf(':') + 1))
      const values = this.#values.get(key)
      if (values === undefined) this.#values.set(key, [value])
      else values.push(value)
    }
  }

  /** The first field of that name, unfolded. */
  first(name: string): string | undefined {
    return this.#values.get(name)?.[0]
  }

  /** Every field of that name, unfolded, from the top. */
  all(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  get size(): number {
    return this.#values.size
  }
}

/** A part that is not a multipart. */
export interface Part {
  /** Lower case, without parameters. */
  readonly type: string
  readonly fields: Fields
  readonly content: Buffer
  /** The content as text, by the part's charset. */
  text(): string
}

/** A mail as the readers get it. */
export interface Mail {
  readonly fields: Fields
  /** Lower case, without parameters; of a mail without one, `text/plain`. */
  readonly type: string
  /** Every part that is not a multipart, from the top. Attached messages stay whole. */
  readonly parts: readonly Part[]
}

/** A mail that cannot be taken apart within the bounds; says why. */
export class UnreadableMail extends Error {
  override name = 'UnreadableMail'
}

/** Largest mail that is read. */
export const MAX_MAIL_BYTES = 50 * 1024 * 1024
/** Longest head, of the mail or of a part. */
const MAX_HEAD_BYTES = 64 * 1024
const MAX_PARTS = 1000
/** A text that is longer is cut: the reasons stand at its top. */
const MAX_TEXT_BYTES = 1024 * 1024
/** So many carriage returns in a row are no line end of anybody, and cost the splitter quadratic time. */
const CR_RUN = Buffer.alloc(256, 0x0d)
const LONG_ENCODING = /^content-transfer-encoding:(?:[^\n]|\n[ \t]){1000}/im

/**
 * Takes a mail apart.
 * @throws UnreadableMail where it is too large, or its heads or parts are beyond the bounds.
 */
export async function takeApart(mail: Uint8Array): Promise<Mail> {
  const bytes = Buffer.from(mail.buffer, mail.byteOffset, mail.byteLength)
  if (bytes.length > MAX_MAIL_BYTES)
    throw new UnreadableMail(`it has ${bytes.length} bytes; mails of up to ${MAX_MAIL_BYTES} bytes are read`)
  if (bytes.includes(CR_RUN)) throw new UnreadableMail('it has more than 255 carriage returns in a row')
  if (LONG_ENCODING.test(bytes.toString('latin1')))
    throw new UnreadableMail('it has a Content-Transfer-Encoding of more than 1,000 characters')
  // line ends of one carriage return each, as old Macs had them
  const lines = bytes.includes(0x0a) ? bytes : Buffer.from(bytes.toString('latin1').replaceAll('\r', '\n'), 'latin1')
  const nodes: { node: Node; chunks: Buffer[] }[] = []
  let current = ''
  try {
    for await (const item of split(lines)) {
      if (item.type === 'node') nodes.push({ node: item, chunks: [] })
      // what stands in a multipart, beside its parts, comes as `data`
      else if (item.value !== undefined && (item.type === 'body' || nodes.length === 1))
        nodes.find((n) => n.node === item.node)?.chunks.push(item.value)
      current = item.type
    }
  } catch (error) {
    // what was read of a mail with too many parts is as good as a report with parts missing
    if (nodes.length === 0) throw new UnreadableMail(`it cannot be taken apart (${(error as Error).message}; after a ${current || 'head'})`)
  }
  const root = nodes[0]?.node
  if (root === undefined) throw new UnreadableMail('it has no head')
  return {
    fields: new Fields(root.headers.getList()),
    type: root.contentType || 'text/plain',
    parts: nodes
      // of a multipart whose boundary is never found, the whole body is one text
      .filter(({ node }) => node.multipart === false || nodes.length === 1)
      .map(({ node, chunks }) => partOf(node, Buffer.concat(chunks))),
  }
}

function split(bytes: Buffer): AsyncIterable<Node | BodyChunk> {
  const splitter = new Splitter({ ignoreEmbedded: true, maxHeadSize: MAX_HEAD_BYTES, maxChildNodes: MAX_PARTS })
  splitter.end(bytes)
  return splitter
}

function partOf(node: Node, raw: Buffer): Part {
  let content: Buffer | undefined
  let text: string | undefined
  return {
    type: node.multipart === false ? node.contentType || 'text/plain' : 'text/plain',
    fields: new Fields(node.headers.getList()),
    get content() {
      content ??= decoded(raw, node.encoding)
      return content
    },
    text: () => {
      text ??= inCharset(decoded(raw.subarray(0, MAX_TEXT_BYTES), node.encoding), node.charset)
      return text
    },
  }
}

function decoded(raw: Buffer, encoding: string): Buffer {
  if (encoding === 'base64') return Buffer.from(raw.toString('latin1'), 'base64')
  if (encoding === 'quoted-printable') return decodeQuotedPrintable(raw.toString('latin1'))
  return raw
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true })

/** By its charset; as UTF-8, else Latin-1, where none is named or the one that is named is unknown. */
export function inCharset(content: Uint8Array, charset: string | false): string {
  const name = charset === false ? '' : charset.trim().toLowerCase()
  if (name !== '' && name !== 'us-ascii' && name !== 'utf-8') {
    try {
      return new TextDecoder(name).decode(content)
    } catch {
      // nobody knows this charset
    }
  }
  try {
    return UTF_8.decode(content)
  } catch {
    return Buffer.from(content).toString(name === 'utf-8' ? 'utf8' : 'latin1')
  }
}

/** The fields of a message (RFC 5322 bytes): of its head alone, which may be all there is. */
export function headOf(message: Uint8Array): Fields {
  const bytes = Buffer.from(message.buffer, message.byteOffset, Math.min(message.byteLength, MAX_HEAD_BYTES))
  if (bytes.includes(CR_RUN)) return new Fields([])
  const ends = [bytes.indexOf('\n\n'), bytes.indexOf('\n\r\n')].filter((at) => at >= 0)
  return new Fields(new Headers(ends.length === 0 ? bytes : bytes.subarray(0, Math.min(...ends) + 1)).getList())
}

function unfolded(value: string): string {
  const text = value.split(/\r?\n/).join(' ')
  return (/[^\x20-\x7e\t]/.test(text) ? inCharset(Buffer.from(text, 'latin1'), false) : text).trim()
}
