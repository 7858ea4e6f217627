/**
 * Splits a mail into its header fields and its parts with decoded contents. mailsplit does the splitting; this file limits the work
 * that a hostile mail can cause.
 */
import { decode as decodeQuotedPrintable } from 'libqp'
import { type BodyChunk, Headers, type Node, Splitter } from 'mailsplit'
import { fromBase64, headless, withLineEnds, withStructure } from './mime-repair.js'

/** The header fields of a mail or part, by lower-case name. */
export class Fields {
  constructor(private readonly lines: readonly { readonly key: string; readonly line: string }[]) {}

  /** The first field of that name, unfolded. */
  first(name: string): string | undefined {
    const found = this.lines.find(({ key }) => key === name)
    return found === undefined ? undefined : unfolded(found.line)
  }

  /** Every field of that name, unfolded, from the top. */
  all(name: string): readonly string[] {
    return this.lines.filter(({ key }) => key === name).map(({ line }) => unfolded(line))
  }

  get size(): number {
    return this.lines.length
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

/** A mail as the parsers receive it. */
export interface Mail {
  readonly fields: Fields
  /** Lower case, without parameters; `text/plain` if the mail has no Content-Type. */
  readonly type: string
  /** Every part that is not a multipart, from the top. Attached messages stay whole. */
  readonly parts: readonly Part[]
}

/** A mail that is malformed or exceeds a limit; the message gives the reason. */
export class UnreadableMail extends Error {
  override name = 'UnreadableMail'
}

/** Largest mail that is read. */
export const MAX_MAIL_BYTES = 50 * 1024 * 1024
/** Longest header, of the mail or of a part. */
const MAX_HEAD_BYTES = 64 * 1024
const MAX_PARTS = 1000
/** More lines than a real mail of the largest size has; each costs the splitter about a microsecond. */
const MAX_LINES = 1_000_000
/** Longer texts are cut: the reasons are at the top. */
const MAX_TEXT_BYTES = 1024 * 1024
/** No real mail has this many carriage returns in a row, and they cost the splitter quadratic time. */
const CR_RUN = Buffer.alloc(256, 0x0d)
/** Mails up to this size skip the check for LONG_ENCODING: they cannot cost much. */
const HARMLESS_BYTES = 8 * 1024
const LONG_ENCODING = /^content-transfer-encoding:(?:[^\n]|\n[ \t]){1000}/im

/**
 * Splits a mail into header fields and parts.
 * @throws UnreadableMail if it is malformed or exceeds a limit.
 */
export async function takeApart(mail: Uint8Array): Promise<Mail> {
  const bytes = Buffer.from(mail.buffer, mail.byteOffset, mail.byteLength)
  if (bytes.length > MAX_MAIL_BYTES)
    throw new UnreadableMail(`it has ${bytes.length} bytes; mails of up to ${MAX_MAIL_BYTES} bytes are read`)
  if (bytes.includes(CR_RUN)) throw new UnreadableMail('it has more than 255 carriage returns in a row')
  const ended = withLineEnds(bytes)
  if (ended.length > HARMLESS_BYTES && LONG_ENCODING.test(ended.toString('latin1')))
    throw new UnreadableMail('it has a Content-Transfer-Encoding of more than 1,000 characters')
  if (hasMoreLines(ended, MAX_LINES)) throw new UnreadableMail('it has more than a million lines')
  const bodyAt = headEnd(ended)
  const isMultipart = /^content-type:\s*multipart\//im.test(ended.toString('latin1', 0, bodyAt < 0 ? MAX_HEAD_BYTES : bodyAt))
  return isMultipart || bodyAt < 0 ? splitUp(withStructure(ended, bodyAt)) : single(ended, bodyAt)
}

/** A mail that is one part. */
function single(mail: Buffer, bodyAt: number): Mail {
  const headers = new Headers(mail.subarray(0, bodyAt))
  const fields = new Fields(headers.getList())
  const type = fields.first('content-type') ?? ''
  const head: PartHead = {
    type: /^[^\s;]{1,127}/.exec(type)?.[0].toLowerCase() ?? 'text/plain',
    charset: /;\s{0,9}charset\s{0,9}=\s{0,9}["']?([^\s"';]{1,60})/i.exec(type.slice(0, 2000))?.[1] ?? false,
    encoding: (fields.first('content-transfer-encoding') ?? '').toLowerCase(),
    fields: () => fields,
  }
  return { fields, type: head.type, parts: [partOf(head, mail.subarray(bodyAt))] }
}

async function splitUp(mail: Buffer): Promise<Mail> {
  const found = new Map<Node, Buffer[]>()
  try {
    await split(mail, (item) => {
      if (item.type === 'node') found.set(item, [])
      // text of a multipart outside its parts arrives as `data`
      else if (item.value !== undefined) found.get(item.node)?.push(item.value)
    })
  } catch (error) {
    // keep the parts read so far: a mail with too many parts is handled like a report with missing ones
    if (found.size === 0) throw new UnreadableMail(`it cannot be taken apart (${(error as Error).message})`)
  }
  const nodes = [...found].map(([node, chunks]) => ({ node, chunks }))
  const root = nodes[0]?.node
  if (root === undefined) throw new UnreadableMail('it has no head')
  return {
    fields: new Fields(root.headers.getList()),
    type: root.contentType || 'text/plain',
    parts: nodes
      // if the boundary of a multipart is never found, its whole body is one text
      .filter(({ node }, i) => node.multipart === false || !hasParts(node, nodes[i + 1]?.node))
      .map(({ node, chunks }) => partOfNode(node, chunks)),
  }
}

/** Whether a multipart was split: the next part was found within it. */
const hasParts = (multipart: Node, next: Node | undefined): boolean => next !== undefined && next.parentNode === multipart

function hasMoreLines(bytes: Buffer, most: number): boolean {
  let lines = 0
  for (let at = bytes.indexOf(0x0a); at >= 0 && lines <= most; at = bytes.indexOf(0x0a, at + 1)) lines += 1
  return lines > most
}

function split(bytes: Buffer, each: (item: Node | BodyChunk) => void): Promise<void> {
  const splitter = new Splitter({ ignoreEmbedded: true, maxHeadSize: MAX_HEAD_BYTES, maxChildNodes: MAX_PARTS })
  return new Promise((resolve, reject) => {
    splitter.on('data', each).once('end', resolve).once('error', reject)
    splitter.end(bytes)
  })
}

/** What a part's header says of its content. */
interface PartHead {
  readonly type: string
  readonly charset: string | false
  readonly encoding: string
  readonly fields: () => Fields
}

function partOfNode(node: Node, chunks: readonly Buffer[]): Part {
  const lost = node.parentNode === false ? null : headless(node.getHeaders())
  const isText = node.multipart !== false || lost !== null
  const head: PartHead = {
    type: isText ? 'text/plain' : node.contentType || 'text/plain',
    charset: node.charset,
    encoding: node.encoding,
    fields: () => new Fields(lost === null ? node.headers.getList() : []),
  }
  return partOf(head, Buffer.concat(lost === null ? chunks : [lost, ...chunks]))
}

function partOf(head: PartHead, raw: Buffer): Part {
  let fields: Fields | undefined
  let content: Buffer | undefined
  let text: string | undefined
  return {
    type: head.type,
    get fields() {
      fields ??= head.fields()
      return fields
    },
    get content() {
      content ??= decoded(raw, head.encoding)
      return content
    },
    text: () => {
      text ??= inCharset(decoded(raw.subarray(0, MAX_TEXT_BYTES), head.encoding), head.charset)
      return text
    },
  }
}

function decoded(raw: Buffer, encoding: string): Buffer {
  if (encoding === 'base64') return fromBase64(raw)
  if (encoding === 'quoted-printable') return decodeQuotedPrintable(raw.toString('latin1'))
  return raw
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true })

/** Decodes text by its charset; if that is missing or unknown, as UTF-8, or as Latin-1 if it is not valid UTF-8. */
export function inCharset(content: Uint8Array, charset: string | false): string {
  const named = charset === false ? '' : charset.trim().toLowerCase()
  // text that calls itself UTF-16, and has no zero byte at its beginning, was converted since
  const name = named.startsWith('utf-16') && !content.subarray(0, 1000).includes(0) ? '' : named
  if (name !== '' && name !== 'us-ascii' && name !== 'utf-8') {
    try {
      return new TextDecoder(name).decode(content)
    } catch {
      // unknown charset
    }
  }
  try {
    return UTF_8.decode(content)
  } catch {
    return Buffer.from(content).toString(name === 'utf-8' ? 'utf8' : 'latin1')
  }
}

/** The header fields of a message (RFC 5322 bytes), with or without a body. */
export function headOf(message: Uint8Array): Fields {
  const bytes = Buffer.from(message.buffer, message.byteOffset, Math.min(message.byteLength, MAX_HEAD_BYTES))
  if (bytes.includes(CR_RUN)) return new Fields([])
  const end = headEnd(bytes)
  return new Fields(new Headers(end < 0 ? bytes : bytes.subarray(0, end)).getList())
}

/** Offset of the body, after the first empty line; -1 if there is none within MAX_HEAD_BYTES. */
function headEnd(bytes: Buffer): number {
  const head = bytes.subarray(0, MAX_HEAD_BYTES)
  const bare = head.indexOf('\n\n')
  const full = head.indexOf('\n\r\n')
  if (full >= 0 && (bare < 0 || full < bare)) return full + 3
  return bare < 0 ? -1 : bare + 2
}

/** The field's value, unfolded. */
function unfolded(line: string): string {
  const folded = line.slice(line.indexOf(':') + 1)
  const text = folded.includes('\n') ? folded.split(/\r?\n/).join(' ') : folded
  return (/[^\x20-\x7e\t]/.test(text) ? inCharset(Buffer.from(text, 'latin1'), false) : text).trim()
}
