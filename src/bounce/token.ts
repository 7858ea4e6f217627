/**
 * The token in a signed return path: identifies the message, recipient and send that a bounce is about. 24 bytes in base32
 * (RFC 4648 section 6, lower case, unpadded; decoded in any case): an ID of message and recipient, the day, the send, the store, and an HMAC.
 * This file encodes and decodes; delivery/return-path.ts signs and verifies.
 */

/** A decoded token, without its MAC. */
export interface ReturnPathToken {
  /** Identifies message and recipient: 10 bytes in hex. */
  readonly id: string
  /** Day of the signature, since 1970-01-01 UTC. */
  readonly day: number
  readonly send: Send
  /** The store that holds the message: two bytes of its ID; 0 if it is not known. */
  readonly store?: number
}

/** A send of a message: 0 for the original, n for retry n of the schedule, `backup` for the send by the backup relay. */
export type Send = number | 'backup'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
export const ID_BYTES = 10
export const MAC_BYTES = 8
const HEAD_BYTES = ID_BYTES + 6
/** Characters of a token. */
export const TOKEN_LENGTH = Math.ceil(((HEAD_BYTES + MAC_BYTES) * 8) / 5)
/** Highest send number in a token; later sends share it. */
export const LAST_SEND = 0xfffd

const BACKUP_CODE = 0xfffe

/** The number of a send, as tokens and tables store it. */
export const sendCode = (send: Send): number => (send === 'backup' ? BACKUP_CODE : Math.min(send, LAST_SEND))

export const sendFromCode = (code: number): Send => (code === BACKUP_CODE ? 'backup' : code)

/** The fields of an attempt that identify its send. */
export interface Via {
  readonly retry: number
  readonly via?: 'backup-relay' | null
}

/** True for a retry of the schedule, false for the send by the backup relay. */
export const isRetry = ({ via }: Via): boolean => via == null

/** Display name of an attempt. */
export const nameOfAttempt = ({ retry, via }: Via): string => (via == null ? `retry ${retry}` : 'backup relay')

/** The send that an attempt made. */
export const sendOfAttempt = ({ retry, via }: Via): Send => (via == null ? Math.min(retry, LAST_SEND) : 'backup')

/** The bytes that are signed. */
export function signedBytes(token: ReturnPathToken): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES)
  for (let i = 0; i < ID_BYTES; i += 1) bytes[i] = Number.parseInt(token.id.slice(2 * i, 2 * i + 2), 16)
  const send = sendCode(token.send)
  const store = token.store ?? 0
  bytes.set([token.day >> 8, token.day & 0xff, send >> 8, send & 0xff, store >> 8, store & 0xff], ID_BYTES)
  return bytes
}

/** The token's text. */
export function encodeToken(token: ReturnPathToken, mac: Uint8Array): string {
  const bytes = new Uint8Array(HEAD_BYTES + MAC_BYTES)
  bytes.set(signedBytes(token))
  bytes.set(mac.subarray(0, MAC_BYTES), HEAD_BYTES)
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(value >> bits) & 31]
    }
    value &= (1 << bits) - 1
  }
  return text + ALPHABET[(value << (5 - bits)) & 31]
}

/** Decodes a token with its MAC; null if the text is not a token. Does not verify the MAC. */
export function decodeToken(text: string): (ReturnPathToken & { readonly mac: Uint8Array }) | null {
  if (text.length !== TOKEN_LENGTH) return null
  const bytes = new Uint8Array(HEAD_BYTES + MAC_BYTES)
  let at = 0
  let bits = 0
  let value = 0
  for (const character of text.toLowerCase()) {
    const five = ALPHABET.indexOf(character)
    if (five < 0) return null
    value = (value << 5) | five
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[at] = (value >> bits) & 0xff
      at += 1
      value &= (1 << bits) - 1
    }
  }
  // padding bits must be zero, so that a token has only one encoding
  if (value !== 0) return null
  const id = [...bytes.subarray(0, ID_BYTES)].map((b) => b.toString(16).padStart(2, '0')).join('')
  const number = (i: number) => ((bytes[i] as number) << 8) | (bytes[i + 1] as number)
  const [day, send, store] = [number(ID_BYTES), sendFromCode(number(ID_BYTES + 2)), number(ID_BYTES + 4)]
  return { id, day, send, ...(store === 0 ? {} : { store }), mac: bytes.subarray(HEAD_BYTES) }
}

/** The send that a bounce is about, from its token; null without a readable one. */
export function sendOf(bounce: { readonly token?: string | undefined }): Send | null {
  return decodeToken(bounce.token ?? '')?.send ?? null
}
