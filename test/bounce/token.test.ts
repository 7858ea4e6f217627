import { expect, test } from 'vitest'
import {
  decodeToken,
  encodeToken,
  isRetry,
  LAST_SEND,
  nameOfAttempt,
  sendCode,
  sendFromCode,
  sendOf,
  sendOfAttempt,
  TOKEN_LENGTH,
} from '../../src/bounce/index.js'

const ID = '00112233445566778899'
const MAC = Uint8Array.from([0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xff])

test('a token encodes message, day and send, always as the same text', () => {
  const text = encodeToken({ id: ID, day: 20_784, send: 258, store: 0xf0f1 }, MAC)
  // RFC 4648 base32 of the same bytes, computed by another implementation
  expect(text).toBe('aaisem2ekvthpcezkeyacaxq6hzph5hv6337r7y')
  expect(text).toHaveLength(TOKEN_LENGTH)
  expect(decodeToken(text)).toEqual({ id: ID, day: 20_784, send: 258, store: 0xf0f1, mac: MAC })
  expect(decodeToken(text.toUpperCase())).toEqual(decodeToken(text))
})

test('a wrong length, a wrong letter, or non-zero padding bits decode to null', () => {
  const text = encodeToken({ id: ID, day: 1, send: 1 }, MAC)
  expect(decodeToken('')).toBeNull()
  expect(decodeToken(text.slice(1))).toBeNull()
  expect(decodeToken(`${text}a`)).toBeNull()
  for (const letter of ['1', '8', '0', '-', ' ', 'ä']) expect(decodeToken(letter + text.slice(1)), letter).toBeNull()
  expect(decodeToken(`${text.slice(0, -1)}z`)).toBeNull()
  expect(sendOf({ token: text })).toBe(1)
  expect(sendOf({ token: text.slice(1) })).toBeNull()
  expect(sendOf({})).toBeNull()
})

test('each send has its own number in a token; retries beyond the last number share it', () => {
  for (const send of [0, 1, 2, 500, LAST_SEND, 'backup'] as const) {
    expect(sendFromCode(sendCode(send))).toBe(send)
    expect(decodeToken(encodeToken({ id: ID, day: 0, send }, MAC))?.send).toBe(send)
  }
  expect(sendCode(1_000_000)).toBe(LAST_SEND)
})

test('an attempt is a scheduled retry or the send by the backup relay', () => {
  const backup = { retry: 0, via: 'backup-relay' } as const
  expect([isRetry({ retry: 1 }), isRetry({ retry: 1, via: null }), isRetry(backup)]).toEqual([true, true, false])
  expect([nameOfAttempt({ retry: 3 }), nameOfAttempt(backup)]).toEqual(['retry 3', 'backup relay'])
  expect([sendOfAttempt({ retry: 3 }), sendOfAttempt({ retry: 1_000_000 }), sendOfAttempt(backup)]).toEqual([3, LAST_SEND, 'backup'])
})
