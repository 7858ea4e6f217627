/** What a server's EHLO reply offers, and what a message needs of it. */
import { isInternational } from '../../bounce/index.js'
import type { Mail } from './transaction-result.js'

/** True if the EHLO reply offers the extension. */
export const offers = (ehlo: string, keyword: string): boolean => new RegExp(`^250[ -]${keyword}(?:[ =]|$)`, 'im').test(ehlo)

/** The largest message that the server accepts, bytes (RFC 1870); 0 if it gives no limit. */
export const sizeLimit = (ehlo: string): number => Number(/^250[ -]SIZE[ \t]+(\d{1,15})/im.exec(ehlo)?.[1] ?? 0)

/** The status to end with, and its text; null if the server offers all that this message needs. */
export function missingExtension(
  { sender, recipient, content }: Mail,
  eightBit: boolean,
  ehlo: string,
  mailServer: string,
): { readonly status: string; readonly text: string } | null {
  if ((isInternational(sender) || isInternational(recipient)) && !offers(ehlo, 'SMTPUTF8'))
    return { status: '5.6.7', text: `host ${mailServer} does not offer SMTPUTF8, which these addresses need (RFC 6531)` }
  if (eightBit && !offers(ehlo, '8BITMIME'))
    return { status: '5.6.3', text: `host ${mailServer} does not offer 8BITMIME, which this message needs (RFC 6152)` }
  const limit = sizeLimit(ehlo)
  if (limit > 0 && content.length > limit)
    return {
      status: '5.3.4',
      text: `host ${mailServer} takes messages of up to ${limit} bytes; this one has ${content.length} (RFC 1870)`,
    }
  return null
}
