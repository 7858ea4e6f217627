/** Whether a message's own DKIM signatures have run out (RFC 6376 section 3.5, tag x=): then it would arrive unsigned. */
import { foldDomain } from '../bounce/index.js'
import { fieldName, headerFields } from './canonical-message.js'

/**
 * When the last of the message's own signatures runs out; null where it has none of its own, or one that does not run out.
 * "Own": its d= is the domain of the author (From) or of the envelope sender, or a parent of one of them.
 */
export function signaturesExpireAt(message: Buffer, envelopeSender: string): Date | null {
  const fields = headerFields(message).map((field) => ({ name: fieldName(field), text: unfold(field) }))
  const ours = [envelopeSender, ...fields.filter((f) => f.name === 'from').flatMap((f) => f.text.match(/[^\s<>@,"]+@[^\s<>,;"()]+/g) ?? [])]
    .map((address) => foldDomain(address.slice(address.lastIndexOf('@') + 1)))
    .filter((domain) => domain !== null)
  const own = fields
    .filter((f) => f.name === 'dkim-signature')
    .map((f) => tags(f.text))
    .filter((t) => {
      const d = foldDomain(t.get('d') ?? '')
      return d !== null && ours.some((domain) => domain === d || domain.endsWith(`.${d}`))
    })
  if (own.length === 0) return null
  const expiries = own.map((t) => Number.parseInt(t.get('x') ?? '', 10))
  return expiries.some(Number.isNaN) ? null : new Date(Math.max(...expiries) * 1000)
}

const unfold = (field: Buffer) =>
  field
    .subarray(field.indexOf(':') + 1)
    .toString('latin1')
    .replace(/\r\n/g, '')
    .trim()

function tags(text: string): Map<string, string> {
  return new Map(
    text.split(';').map((tag) => {
      const equals = tag.indexOf('=')
      return [tag.slice(0, equals).trim(), tag.slice(equals + 1).replace(/\s+/g, '')]
    }),
  )
}
