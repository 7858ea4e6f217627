/** Email addresses: parsed for the envelope, folded for comparison (RFC 5321 section 2.4 and 4.1.2, RFC 6531, RFC 5891). */

/** An address in its two parts; `local` as it was written, `domain` in lower case and A-label form (`xn--…`). */
export interface Address {
  readonly local: string
  readonly domain: string
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is refused
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f]|\p{Cs}/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: the ASCII range is what is asked for
const NOT_ASCII = /[^\u0000-\u007f]/
const PLAIN_LOCAL = /^[^\s"(),:;<>@[\\\]]+$/
const QUOTED_LOCAL = /^"(?:[^"\\]|\\.)*"$/
const PLAIN_DOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/
const ADDRESS_LITERAL = /^\[[0-9a-f:.]+\]$|^\[ipv6:[0-9a-f:.]+\]$/
const MAX_ADDRESS_BYTES = 254
const MAX_DOMAIN_LENGTH = 255

/** True if the text has characters beyond ASCII. */
export function isInternational(text: string): boolean {
  return NOT_ASCII.test(text)
}

/**
 * A domain as it is compared and sent: lower case, A-labels, without a final dot; an address literal (`[192.0.2.1]`) in lower case.
 * Null if it is not a domain.
 */
export function foldDomain(domain: string): string | null {
  let folded = domain.toLowerCase()
  if (folded.endsWith('.')) folded = folded.slice(0, -1)
  if (ADDRESS_LITERAL.test(folded)) return folded
  if (NOT_ASCII.test(folded)) {
    // characters that a URL would parse as a port, path or query
    if (/[/:?#\\%@\s]/.test(folded)) return null
    try {
      folded = new URL(`http://${folded}/`).hostname
    } catch {
      return null
    }
  }
  if (folded.length > MAX_DOMAIN_LENGTH || !PLAIN_DOMAIN.test(folded)) return null
  return folded.split('.').every((label) => label.length <= 63) ? folded : null
}

/**
 * Parses an address without angle brackets or display name.
 * @throws Error saying what is wrong with it. CR, LF, NUL and other control characters are always refused.
 */
export function parseAddress(text: string): Address {
  const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
  if (FORBIDDEN.test(text)) throw new Error(`the address ${shown} has a control character in it`)
  const at = text.lastIndexOf('@')
  if (at < 1 || at === text.length - 1) throw new Error(`${shown} is not an address; an address looks like ann@example.org`)
  const local = text.slice(0, at)
  if (!isLocalPart(local)) throw new Error(`the part before the @ of ${shown} has characters that need quotes, or quotes that do not close`)
  if (/[<>]/.test(local)) throw new Error(`the address ${shown} has an angle bracket in it`)
  if (new TextEncoder().encode(text).length > MAX_ADDRESS_BYTES)
    throw new Error(`the address ${shown} is longer than ${MAX_ADDRESS_BYTES} bytes (RFC 5321 4.5.3.1.3)`)
  const domain = foldDomain(text.slice(at + 1))
  if (domain === null) throw new Error(`the part after the @ of ${shown} is not a domain`)
  // the folded form must be an address too
  const folded = foldLocal(local)
  if (!isLocalPart(folded)) throw new Error(`the part before the @ of ${shown} has characters that stand for others which need quotes`)
  for (const form of [local, folded])
    if (new TextEncoder().encode(`${form}@${domain}`).length > MAX_ADDRESS_BYTES)
      throw new Error(`the address ${shown} is longer than ${MAX_ADDRESS_BYTES} bytes with its domain in A-labels (RFC 5321 4.5.3.1.3)`)
  return { local, domain }
}

const isLocalPart = (local: string): boolean => PLAIN_LOCAL.test(local) || QUOTED_LOCAL.test(local)

/** Lower case before NFC, since lower-casing can decompose characters. */
const foldLocal = (local: string): string => local.toLowerCase().normalize('NFC')

/** The address as it goes into the envelope: the local part as it was written, the domain in A-labels (RFC 5891). */
export function envelopeAddress(address: Address): string {
  return `${address.local}@${address.domain}`
}

/** The address as it is compared: the local part in lower case and NFC, the domain as {@link foldDomain} gives it. */
export function foldAddress(address: Address): string {
  return `${foldLocal(address.local)}@${address.domain}`
}

/**
 * `Ann@EXAMPLE.org` -> `ann@example.org`.
 * @throws Error if it is not an address.
 */
export function addressKey(text: string): string {
  return foldAddress(parseAddress(text))
}
