/**
 * The token of a signed return path: which send of which message to which recipient a bounce answers. Twenty-four bytes in base32
 * (RFC 4648 section 6, lower case, unpadded; read in any case): an identifier of message and recipient, the day, the send, and a code
 * (HMAC) that only we can make. This is its form; delivery/return-path.ts signs and verifies.
 */

/** What a token says. */
export interface ReturnPathToken {
  /** Of message and recipient: 10 bytes in hex. */
  readonly id: string
  /** Day of the signature, since 1970-01-01 UTC. */
  readonly day: number
  readonly send: Send
}

/** Which send of a message: 0 for the original, n for retry n of the schedule, or the one by the backup relay. */
export type Send = number | 'backup'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
export const ID_BYTES = 10
export const MAC_BYTES = 10
const HEAD_BYTES = ID_BYTES + 4
/** Characters of a token. */
export const TOKEN_LENGTH = Math.ceil(((HEAD_BYTES + MAC_BYTES) * 8) / 5)
/** The last send that has a number of its own in a token; later ones share it. */
export const LAST_SEND = 0xfffd

const BACKUP_CODE = 0xfffe

/** The number that stands for a send in a token, and in a table. */
export const sendCode = (send: Send): number => (send === 'backup' ? BACKUP_CODE : Math.min(send, LAST_SEND))

export const sendFromCode = (code: number): Send => (code === BACKUP_CODE ? 'backup' : code)

/** An attempt, as far as it says by which way it went. */
export interface Via {
  readonly retry: number
  readonly via?: 'backup-relay' | null
}

/** Whether it is a retry of the schedule, not the send by the backup relay. */
export const isRetry = ({ via }: Via): boolean => via == null

/** What a person calls an attempt. */
export const nameOfAttempt = ({ retry, via }: Via): string => (via == null ? `retry ${retry}` : 'backup relay')

/** Which send an attempt is. */
export const sendOfAttempt = ({ retry, via }: Via): Send => (via == null ? Math.min(retry, LAST_SEND) : 'backup')

/** The bytes that are signed. */
export function signedBytes(token: ReturnPathToken): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES)
  for (let i = 0; i < ID_BYTES; i += 1) bytes[i] = Number.parseInt(token.id.slice(2 * i, 2 * i + 2), 16)
  const send = sendCode(token.send)
  bytes.set([token.day >> 8, token.day & 0xff, send >> 8, send & 0xff], ID_BYTES)
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

/** What a token says, and its code; null if the text is no token. Whether it is ours, the code must show. */
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
  // the bits that fill up the last character are zero: a token has one text
  if (value !== 0) return null
  const id = [...bytes.subarray(0, ID_BYTES)].map((b) => b.toString(16).padStart(2, '0')).join('')
  const number = (i: number) => ((bytes[i] as number) << 8) | (bytes[i + 1] as number)
  return { id, day: number(ID_BYTES), send: sendFromCode(number(ID_BYTES + 2)), mac: bytes.subarray(HEAD_BYTES) }
}

/** Which send a bounce is about, by its token; null without one. */
export function sendOf(bounce: { readonly token?: string | undefined }): Send | null {
  return decodeToken(bounce.token ?? '')?.send ?? null
}
