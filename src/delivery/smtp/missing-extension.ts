/** Finds an SMTP extension that a message needs and that the server's EHLO reply does not offer. */
import { isInternational } from '../../bounce/index.js'
import type { Mail } from './transaction-result.js'

/** The status to end with, and its text; null if the server offers all that this message needs. */
export function missingExtension(
  { sender, recipient, content }: Mail,
  eightBit: boolean,
  ehlo: string,
  mailServer: string,
): { readonly status: string; readonly text: string } | null {
  const offers = (keyword: string) => new RegExp(`^250[ -]${keyword}(?:[ =]|$)`, 'im').test(ehlo)
  if ((isInternational(sender) || isInternational(recipient)) && !offers('SMTPUTF8'))
    return { status: '5.6.7', text: `host ${mailServer} does not offer SMTPUTF8, which these addresses need (RFC 6531)` }
  if (eightBit && !offers('8BITMIME'))
    return { status: '5.6.3', text: `host ${mailServer} does not offer 8BITMIME, which this message needs (RFC 6152)` }
  const limit = Number(/^250[ -]SIZE[ \t]+(\d{1,15})/im.exec(ehlo)?.[1] ?? 0)
  if (limit > 0 && content.length > limit)
    return {
      status: '5.3.4',
      text: `host ${mailServer} takes messages of up to ${limit} bytes; this one has ${content.length} (RFC 1870)`,
    }
  return null
}
