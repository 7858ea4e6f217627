/** When a message's own DKIM signatures expire (RFC 6376 section 3.5, tag x=): after that, it would arrive unsigned. */
import { foldDomain } from '../bounce/index.js'
import { fieldName, headerFields } from './canonical-message.js'

/** True if an author's domain (From) is this one or a subdomain of it. */
export function isAuthoredBy(message: Buffer, domain: string): boolean {
  return authorDomains(headerFields(message).map(field)).some((author) => author === domain || author.endsWith(`.${domain}`))
}

/**
 * When the last of the message's own signatures expires; null if it has none of its own, or one that does not expire.
 * "Own": its d= is the domain of the author (From) or of the envelope sender, or a parent of one of them.
 */
export function signaturesExpireAt(message: Buffer, envelopeSender: string): Date | null {
  const fields = headerFields(message).map(field)
  const ours = [...authorDomains(fields), ...domainsOf(envelopeSender)]
  const own = fields
    .filter((f) => f.name === 'dkim-signature')
    .map((f) => tags(f.text))
    .filter((t) => {
      const d = foldDomain(t.get('d') ?? '')
      return d !== null && ours.some((domain) => domain === d || domain.endsWith(`.${d}`))
    })
  if (own.length === 0) return null
  const expiries = own.map((t) => Number.parseInt(t.get('x') ?? '', 10))
  if (expiries.some(Number.isNaN)) return null
  const last = new Date(Math.max(...expiries) * 1000)
  // a time that is out of range means never
  return Number.isNaN(last.getTime()) ? null : last
}

interface Field {
  readonly name: string
  readonly text: string
}

const field = (bytes: Buffer): Field => ({
  name: fieldName(bytes),
  text: bytes
    .subarray(bytes.indexOf(':') + 1)
    .toString('utf8')
    .replace(/\r\n/g, '')
    .trim(),
})

const authorDomains = (fields: readonly Field[]) => fields.filter(({ name }) => name === 'from').flatMap(({ text }) => domainsOf(text))

/** The domains of all addresses in a text. */
const domainsOf = (text: string): string[] =>
  text
    .split(/[\s<>,;"()]+/)
    .filter((word) => word.includes('@'))
    .map((word) => foldDomain(word.slice(word.lastIndexOf('@') + 1)))
    .filter((domain) => domain !== null)

function tags(text: string): Map<string, string> {
  return new Map(
    text.split(';').map((tag) => {
      const equals = tag.indexOf('=')
      return [tag.slice(0, equals).trim(), tag.slice(equals + 1).replace(/\s+/g, '')]
    }),
  )
}
