/**
 * Signed return paths: VERP addresses (one for each message, recipient and send) with an HMAC and a day, similar to BATV
 * (draft-levine-smtp-batv). A bounce to such an address answers mail that we sent: nobody else can create one.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import {
  addressKey,
  decodeToken,
  encodeToken,
  envelopeAddress,
  ID_BYTES,
  MAC_BYTES,
  messageIdKey,
  parseAddress,
  type ReturnPathToken,
  signedBytes,
  TOKEN_LENGTH,
} from '../bounce/index.js'

/** How return paths are signed and verified. */
export interface ReturnPaths {
  /** The address, with `{token}` in its local part; `{domain}` stands for the sender's domain. */
  readonly template: string
  /** The first signs, all of them verify. */
  readonly keys: readonly Buffer[]
  /** How many days a signature is valid. */
  readonly validDays: number
}

/** A digest of the keys, by which processes can compare theirs without showing them; null if there are none. */
export const keysDigest = (paths: Pick<ReturnPaths, 'keys'> | null): string | null =>
  paths && createHash('sha256').update('softbounce return path keys').update(Buffer.concat(paths.keys)).digest('hex').slice(0, 16)

const DAY_MS = 24 * 60 * 60 * 1000

/** Days from 1970-01-01 to this time, UTC. */
export const dayOf = (at: Date): number => Math.floor(at.getTime() / DAY_MS)

/** The identifier of a message and recipient: 10 bytes in hex. */
export function sentId(messageId: string, recipient: string): string {
  return createHash('sha256')
    .update(`${messageIdKey(messageId)}\0${addressKey(recipient)}`)
    .digest('hex')
    .slice(0, 2 * ID_BYTES)
}

/**
 * Reads the template of returnPath.address.
 * @throws Error if it has no `{token}`, or makes a local part of more than 64 octets (RFC 5321 4.5.3.1.1).
 */
export function parseReturnPathTemplate(text: string): string {
  const at = text.lastIndexOf('@')
  const local = text.slice(0, Math.max(at, 0))
  if (local.split('{token}').length !== 2)
    throw new Error('it must be an address with {token} once before its @, such as bounce+{token}@{domain}')
  const longest = local.replace('{token}', 'a'.repeat(TOKEN_LENGTH))
  if (longest.length > 64) throw new Error(`it makes a local part of ${longest.length} octets; up to 64 are allowed (RFC 5321)`)
  parseAddress(`${longest}@${text.slice(at + 1).replaceAll('{domain}', 'example.com')}`)
  if (longest !== longest.toLowerCase()) throw new Error('it must be in lower case: mail systems change the case of return paths')
  return text
}

/** The signed token of a send, without an address: for the header that a provider returns. */
export const signToken = (paths: ReturnPaths, token: ReturnPathToken): string => encodeToken(token, mac(paths.keys[0] as Buffer, token))

/** The return path of a send, for mail from this sender. */
export function signReturnPath(paths: ReturnPaths, token: ReturnPathToken, sender: string): string {
  const { domain } = parseAddress(sender)
  const text = signToken(paths, token)
  return envelopeAddress(parseAddress(paths.template.replaceAll('{domain}', domain).replace('{token}', text)))
}

/** A verified token, with its text. */
export interface VerifiedToken extends ReturnPathToken {
  readonly text: string
}

/** Verifies a return path. Returns its token, or why it is refused: not signed by us, or expired. */
export function verifyReturnPath(paths: ReturnPaths, address: string, now: Date): VerifiedToken | { readonly refused: string } {
  const text = tokenIn(paths, address)
  return text === null ? { refused: 'it came to an address that is no signed return path' } : verifyToken(paths, text, now)
}

/** Verifies a token without an address. */
export function verifyToken(paths: ReturnPaths, text: string, now: Date): VerifiedToken | { readonly refused: string } {
  const decoded = decodeToken(text)
  if (decoded === null) return { refused: 'its return path holds no token' }
  const { mac: given, ...token } = decoded
  if (!paths.keys.some((key) => timingSafeEqual(mac(key, token), given)))
    return { refused: 'the signature of its return path is not ours (do returnPath.keys differ from the sender’s?)' }
  const age = dayOf(now) - token.day
  if (age < -1) return { refused: 'its return path was signed in the future' }
  if (age > paths.validDays) return { refused: `its return path ran out: it is ${age} days old, and good for ${paths.validDays}` }
  return { ...token, text: text.toLowerCase() }
}

/** The text at the template's `{token}`; null if the local part does not match the template. The domain is not compared. */
function tokenIn({ template }: ReturnPaths, address: string): string | null {
  const [before, after] = template.slice(0, template.lastIndexOf('@')).split('{token}') as [string, string]
  const local = address.slice(0, Math.max(address.lastIndexOf('@'), 0)).toLowerCase()
  if (local.length !== before.length + TOKEN_LENGTH + after.length || !local.startsWith(before) || !local.endsWith(after)) return null
  return local.slice(before.length, before.length + TOKEN_LENGTH)
}

const mac = (key: Buffer, token: ReturnPathToken): Buffer =>
  createHmac('sha256', key).update('softbounce return path\0').update(signedBytes(token)).digest().subarray(0, MAC_BYTES)
