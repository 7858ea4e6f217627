import { expect, test } from 'vitest'
import {
  BACKUP_RETRY,
  BACKUP_SEND,
  decodeToken,
  encodeToken,
  isRetry,
  LAST_SEND,
  nameOfSend,
  retryOfSend,
  sendNumber,
  sendOf,
  TOKEN_LENGTH,
} from '../../src/bounce/index.js'

const ID = '00112233445566778899'
const MAC = Uint8Array.from([0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xff])

test('a token says which send of which message, and when; its text is always the same', () => {
  const text = encodeToken({ id: ID, day: 20_784, send: 258 }, MAC)
  // RFC 4648's base32 of the same bytes, made elsewhere
  expect(text).toBe('aaisem2ekvthpcezkeyacaxq6hzph5hv6337r7y')
  expect(text).toHaveLength(TOKEN_LENGTH)
  expect(decodeToken(text)).toEqual({ id: ID, day: 20_784, send: 258, mac: MAC })
  expect(decodeToken(text.toUpperCase())).toEqual(decodeToken(text))
})

test('what is no token says so: another length, another letter, bits that fill up and are not zero', () => {
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

test('numbers of sends: the message itself, its retries, the backup relay’s; those that are too high share one', () => {
  for (const retry of [1, 2, 500, BACKUP_SEND - 1]) {
    expect(sendNumber(retry)).toBe(retry)
    expect(retryOfSend(retry)).toBe(retry)
  }
  expect(sendNumber(BACKUP_RETRY)).toBe(BACKUP_SEND)
  expect(retryOfSend(BACKUP_SEND)).toBe(BACKUP_RETRY)
  expect(retryOfSend(0)).toBeNull()
  expect(sendNumber(1_000_000)).toBe(LAST_SEND)
  expect(decodeToken(encodeToken({ id: ID, day: 0, send: 1_000_000 }, MAC))?.send).toBe(LAST_SEND)
  expect([isRetry({ retry: 1 }), isRetry({ retry: BACKUP_RETRY })]).toEqual([true, false])
  expect([nameOfSend(3), nameOfSend(BACKUP_RETRY)]).toEqual(['retry 3', 'backup relay'])
})
