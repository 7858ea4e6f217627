/**
 * Restores an original that a report returned to what was sent: the returning systems have added trace fields on top, and their
 * `Delivered-To` of the recipient would make the same systems return it again (5.4.6, mail forwarding loop).
 */
import { addressKey } from '../bounce/index.js'
import { fieldName, headerFields } from './canonical-message.js'

/** Fields that senders write: a receiving system did not add a block that contains one. */
const OF_A_SENDER = new Set(['from', 'to', 'date', 'message-id', 'subject', 'mime-version', 'content-type'])
/** Kept, because our own relay may have added them. */
const SIGNATURES = /^(?:dkim-signature|arc-.*)$/
/** Loop detection fields, and those that name the same address under other names. */
const DELIVERED_TO = new Set(['delivered-to', 'x-original-to', 'envelope-to', 'x-envelope-to'])

/**
 * Removes the block above the first `Received`, if it is only trace, and `Delivered-To` and similar fields of these recipients anywhere.
 * Everything that a DKIM signature covers stays.
 * @param message in canonical form.
 * @param recipients the envelope recipient, and the addresses that it was expanded to.
 */
export function withoutReturningTrace(message: Buffer, recipients: readonly string[]): Buffer {
  const fields = headerFields(message)
  const firstReceived = fields.findIndex((field) => fieldName(field) === 'received')
  const top = firstReceived < 0 ? [] : fields.slice(0, firstReceived)
  const isTrace = top.every((field) => !OF_A_SENDER.has(fieldName(field)))
  const keys = new Set(recipients.map(folded))
  const signed = signedFields(fields)
  const kept = fields.filter((field, i) => {
    const name = fieldName(field)
    if (isTrace && i < firstReceived && !SIGNATURES.test(name) && !signed.has(name)) return false
    return !(DELIVERED_TO.has(name) && keys.has(folded(fieldValue(field))))
  })
  if (kept.length === fields.length) return message
  return Buffer.concat([...kept, message.subarray(fields.reduce((bytes, field) => bytes + field.length, 0))])
}

/** The names of the fields that the message's DKIM signatures cover (RFC 6376 3.5, `h=`). */
function signedFields(fields: readonly Buffer[]): ReadonlySet<string> {
  const signatures = fields.filter((field) => fieldName(field) === 'dkim-signature').map((field) => field.toString('latin1'))
  const lists = signatures.map((signature) => /;\s*h\s*=([^;]*)/i.exec(signature)?.[1] ?? '')
  return new Set(lists.flatMap((list) => list.toLowerCase().split(/[\s:]+/)))
}

const fieldValue = (field: Buffer): string =>
  field
    .toString('utf8')
    .replace(/^[^:]*:/, '')
    .trim()
    .replace(/^<|>$/g, '')

/** The address, folded for comparing; other text in lower case. */
function folded(address: string): string {
  try {
    return addressKey(address)
  } catch {
    return address.toLowerCase()
  }
}
