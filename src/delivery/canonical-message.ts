/**
 * The canonical form in which a message is stored and sent: the original's bytes, with CRLF line ends, without fields that must not be sent
 * on. Messages that SMTP could not carry unchanged are rejected here, before retries start.
 */

/** Largest message that is stored. */
export const MAX_MESSAGE_BYTES = 50 * 1024 * 1024
/** Longest line without its line end (RFC 5322 2.1.1, RFC 5321 4.5.3.1.6). */
const MAX_LINE_BYTES = 998
/** Removed: trace of the last delivery, and hidden recipients. Received and Delivered-To stay, for loop detection. */
const TAKEN_OFF = new Set(['return-path', 'bcc', 'resent-bcc'])

const CR = 0x0d
const LF = 0x0a

/** The message cannot be sent as it is; the text names the place and the reason. */
export class UnsendableMessage extends Error {
  override name = 'UnsendableMessage'
  readonly code = 'EUNSENDABLE'
}

/**
 * Brings a message into the form in which it is sent. A bare LF becomes CRLF, as every SMTP client makes it; nothing else of the content
 * changes, so that a DKIM signature made before still verifies.
 * @throws UnsendableMessage if it has no header, a NUL, a bare CR, or a line of more than 998 bytes.
 */
export function canonicalMessage(content: Uint8Array): Buffer {
  if (content.length > MAX_MESSAGE_BYTES)
    throw new UnsendableMessage(`the message has ${content.length} bytes; at most ${MAX_MESSAGE_BYTES} are kept`)
  const bytes = withCrlf(Buffer.from(content.buffer, content.byteOffset, content.length))
  const headerEnd = bytes.indexOf('\r\n\r\n')
  const header = headerEnd < 0 ? bytes : bytes.subarray(0, headerEnd + 2)
  const fields = headerFields(header)
  if (fields.length === 0 || fields.some((field) => !/^[!-9;-~]+[ \t]*:/.test(field.toString('latin1'))))
    throw new UnsendableMessage('it does not begin with a header (RFC 5322): the first line must be a field such as "From: …"')
  const kept = fields.filter((field) => !TAKEN_OFF.has(fieldName(field)))
  if (kept.length === fields.length) return bytes
  return Buffer.concat([...kept, bytes.subarray(header.length)])
}

/** The header fields of a canonical message, folded lines kept together, each with its line end. */
export function headerFields(message: Buffer): Buffer[] {
  const end = message.indexOf('\r\n\r\n')
  const header = end < 0 ? message : message.subarray(0, end + 2)
  const fields: Buffer[] = []
  let start = 0
  for (let at = 0; at < header.length; ) {
    const lineEnd = header.indexOf('\r\n', at)
    const next = lineEnd < 0 ? header.length : lineEnd + 2
    const folded = header[next] === 0x20 || header[next] === 0x09
    if (!folded) {
      fields.push(header.subarray(start, next))
      start = next
    }
    at = next
  }
  return fields
}

/** The name of a header field, in lower case. */
export function fieldName(field: Buffer): string {
  const colon = field.indexOf(':')
  return field.subarray(0, Math.max(colon, 0)).toString('latin1').trim().toLowerCase()
}

function withCrlf(content: Buffer): Buffer {
  const parts: Buffer[] = []
  let from = 0
  let line = 1
  for (let at = 0; at < content.length; ) {
    const lf = content.indexOf(LF, at)
    const end = lf < 0 ? content.length : lf
    const crlf = lf > 0 && lf > at && content[lf - 1] === CR
    const textEnd = crlf ? lf - 1 : end
    if (textEnd - at > MAX_LINE_BYTES)
      throw new UnsendableMessage(`line ${line} has ${textEnd - at} bytes; SMTP carries at most ${MAX_LINE_BYTES} (RFC 5321 4.5.3.1.6)`)
    const text = content.subarray(at, textEnd)
    if (text.includes(0)) throw new UnsendableMessage(`line ${line} has a NUL byte in it, which SMTP does not carry (RFC 5321 2.3.8)`)
    if (text.includes(CR))
      throw new UnsendableMessage(`line ${line} has a CR that is not part of a line end, which SMTP does not carry (RFC 5321 2.3.8)`)
    if (lf >= 0 && !crlf) {
      parts.push(content.subarray(from, lf), Buffer.from('\r\n'))
      from = lf + 1
    }
    at = end + 1
    line += 1
  }
  return parts.length === 0 ? content : Buffer.concat([...parts, content.subarray(from)])
}
