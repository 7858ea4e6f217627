/**
 * An original that came back inside a report, as it was sent: the returning systems have put trace fields on top of it, and their
 * `Delivered-To` of the recipient would make the same systems return it again (5.4.6, mail forwarding loop).
 */
import { addressKey } from '../bounce/index.js'
import { fieldName, headerFields } from './canonical-message.js'

/** Fields that a sender writes: a block that holds one of them was not put on top by a receiving system. */
const OF_A_SENDER = new Set(['from', 'to', 'date', 'message-id', 'subject', 'mime-version', 'content-type'])
/** Signatures may be put on top by our own relay. */
const SIGNATURES = /^(?:dkim-signature|arc-.*)$/
/** Loop detection fields, and those that name the same address under other names. */
const DELIVERED_TO = new Set(['delivered-to', 'x-original-to', 'envelope-to', 'x-envelope-to'])

/**
 * Takes off the block above the first `Received`, if it is only trace, and `Delivered-To` and `X-Original-To` of this recipient wherever they
 * are. Everything that a DKIM signature covers stays.
 * @param message in canonical form.
 * @param recipients the envelope recipient, and the addresses that it was expanded to.
 */
export function withoutReturningTrace(message: Buffer, recipients: readonly string[]): Buffer {
  const fields = headerFields(message)
  const firstReceived = fields.findIndex((field) => fieldName(field) === 'received')
  const top = firstReceived < 0 ? [] : fields.slice(0, firstReceived)
  const isTrace = top.every((field) => !OF_A_SENDER.has(fieldName(field)))
  const keys = new Set(recipients.map(folded))
  const kept = fields.filter((field, i) => {
    const name = fieldName(field)
    if (isTrace && i < firstReceived && !SIGNATURES.test(name)) return false
    return !(DELIVERED_TO.has(name) && keys.has(folded(fieldValue(field))))
  })
  if (kept.length === fields.length) return message
  return Buffer.concat([...kept, message.subarray(fields.reduce((bytes, field) => bytes + field.length, 0))])
}

const fieldValue = (field: Buffer): string =>
  field
    .toString('utf8')
    .replace(/^[^:]*:/, '')
    .trim()
    .replace(/^<|>$/g, '')

/** The address as it is compared; a text that is no address, in lower case. */
function folded(address: string): string {
  try {
    return addressKey(address)
  } catch {
    return address.toLowerCase()
  }
}
