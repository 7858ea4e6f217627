/** The returned original: its Message-ID, its envelope sender, and whether it is complete. */
import { Fields, headOf, type Mail, type Part } from './mail.js'
import type { ParsedReport } from './report.js'

/** The fields of a report that come from the returned original. */
export type Returned = Pick<ParsedReport, 'messageId' | 'sender' | 'returned' | 'original'> & {
  /** The original's header; empty if it did not come back. */
  readonly header: Fields
}

/** No original came back. */
export const NO_ORIGINAL: Returned = { returned: 'none', header: new Fields([]) }

/** The fields that a report takes over. */
export function reportedOf({ header: _, ...returned }: Returned): Pick<ParsedReport, 'messageId' | 'sender' | 'returned' | 'original'> {
  return returned
}

/** The original's own recipients, as its To and Cc fields name them. */
export const recipientsIn = (header: Fields): string[] =>
  [...header.all('to'), ...header.all('cc')].slice(0, 20).flatMap(addressesIn).slice(0, 1000)

/** Its From and Sender fields. */
export const authorsIn = (header: Fields): string[] => [...header.all('from').slice(0, 2), ...header.all('sender').slice(0, 2)]

/** Its envelope recipients, as its Received fields name them (`for <ann@example.org>`, RFC 5321 4.4). */
export const envelopeRecipientsIn = (header: Fields): string[] =>
  header
    .all('received')
    .slice(0, 50)
    .flatMap((received) => /\sfor\s{1,9}<?([^\s<>;]{1,64}@[^\s<>;]{1,253})/.exec(received.slice(0, 2000))?.slice(1, 2) ?? [])

/** MIME types of parts that hold a message, or only its headers (RFC 3462, RFC 6532, RFC 6533). */
const MESSAGES = ['message/rfc822', 'message/global']
const HEADS = ['text/rfc822-headers', 'message/global-headers', 'text/rfc822-header', 'message/rfc822-headers', 'message/partial']

/** Whether a part of this type holds the original, or its header. */
export const holdsOriginal = (type: string): boolean => MESSAGES.includes(type) || HEADS.includes(type)

/** The header fields of the original that a report returns; empty if it returns none. */
export function originalFields(mail: Mail): Fields {
  const embedded = mail.parts.find(({ type }) => holdsOriginal(type))
  return embedded === undefined ? new Fields([]) : headOf(embedded.content)
}

/** The original, or its headers, embedded in a report. `fromPostfix`: Postfix generated the report, which never truncates an original. */
export function embeddedOriginal(mail: Mail, fromPostfix = false): Returned {
  const embedded = mail.parts.find((p) => MESSAGES.includes(p.type))
  const behind = mail.parts.slice(1)
  // in a part without a header of its own, the original's fields directly follow the boundary
  const part =
    embedded ??
    mail.parts.find((p) => HEADS.includes(p.type)) ??
    behind.find((p) => p.fields.first('message-id') !== undefined) ??
    behind.find((p) => p.type === 'text/plain' && headOf(p.content).first('message-id') !== undefined)
  if (part === undefined) return NO_ORIGINAL
  // if the empty line after the part's header is missing, the original's fields are parsed as the part's own
  const within = headOf(part.content)
  const fields = within.first('message-id') === undefined && part.fields.first('message-id') !== undefined ? part.fields : within
  const whole = embedded !== undefined && isWhole(embedded, fields, fromPostfix)
  return { ...idAndSender(fields), returned: whole ? 'whole' : 'headers', ...(whole ? { original: embedded.content } : {}) }
}

/** The original quoted in a text below the reasons: its headers, perhaps its body. Lines before its first field are skipped. */
export function quotedOriginal(text: string): Returned {
  const lines = text.split('\n')
  const begin = lines.slice(0, 10).findIndex((line) => /^[> \t]{0,4}[A-Za-z][A-Za-z0-9-]{1,60}[ \t]{0,3}:/.test(line))
  if (begin < 0) return NO_ORIGINAL
  const quoting = /^[> \t]{0,4}/.exec(lines[begin] as string)?.[0] ?? ''
  const end = lines.findIndex((line, i) => i > begin && /^[> \t\r]{0,4}$/.test(line))
  const rest = lines
    .slice(begin, end < 0 ? undefined : end)
    .map((line) => (quoting !== '' && line.startsWith(quoting) ? line.slice(quoting.length) : line))
  const said = idAndSender(headOf(Buffer.from(rest.join('\n'), 'utf8')))
  return {
    ...said,
    returned: said.messageId === undefined && said.sender === undefined && recipientsIn(said.header).length === 0 ? 'none' : 'headers',
  }
}

function idAndSender(header: Fields): Omit<Returned, 'returned'> {
  const messageId = bare(header.first('message-id'))
  const sender = bare(header.first('return-path'))
  return { ...(messageId === undefined ? {} : { messageId }), ...(sender === undefined ? {} : { sender }), header }
}

/** The text in the first angle brackets, or the whole value if it has none; undefined if that cannot be a Message-ID or address. */
export function bare(value: string | undefined): string | undefined {
  const text = value === undefined ? '' : (/<([^<>\s]{1,998})>/.exec(value)?.[1] ?? value.trim())
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is refused
  return /^[^\s<>\u0000-\u001f\u007f-\u009f]{1,998}$/.test(text) ? text : undefined
}

/** Everything that looks like an address in a text, up to 1,000. Not a parser for RFC 5322 address lists. */
export function addressesIn(text: string): string[] {
  if (!text.includes('@')) return []
  return text
    .slice(0, 64 * 1024)
    .split(/[\s<>()[\]:;,"'\\]/)
    .filter((word) => {
      const at = word.indexOf('@')
      return at > 0 && at <= 64 && at === word.lastIndexOf('@') && word.length > at + 1 && word.length <= 320
    })
    .map((address) => (address.endsWith('.') ? address.slice(0, -1) : address))
    .slice(0, 1000)
}

/**
 * True if the embedded original is provably complete: a multipart message with its closing boundary, or any other message from Postfix,
 * which returns either the whole message or only its headers (other systems truncate long ones).
 */
function isWhole(embedded: Part, fields: Fields, fromPostfix: boolean): boolean {
  if (fields.size === 0) return false
  const type = fields.first('content-type') ?? ''
  if (!/^\s*multipart\//i.test(type)) return fromPostfix
  const boundary = /;\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(type)
  const text = boundary?.[1] ?? boundary?.[2]
  return text !== undefined && embedded.content.includes(`\n--${text}--`)
}
