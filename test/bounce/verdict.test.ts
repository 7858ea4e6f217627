import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  effectiveStatus,
  encodeToken,
  judgeBounce,
  parseReply,
  parseRetryStatuses,
  recipientDetail,
  statusOfReply,
  withoutControls,
} from '../../src/bounce/index.js'

const usual = parseRetryStatuses('4.3.2')
const verdict = (status: string | undefined, diagnostic?: string, retry = usual) => judgeBounce({ status, diagnostic }, retry).verdict

test('4.3.2 and equivalent replies are retried', () => {
  expect(verdict('4.3.2')).toBe('retry')
  for (const reply of [
    '421 4.3.2 System not accepting network messages',
    'smtp; 421 4.3.2 Service not active',
    '452 4.3.2 Connection rate limit exceeded',
    '421 mx.example.org shutting down',
    '421',
    '453 System not accepting network messages',
    '450 System not accepting network messages',
    '421-4.3.2 first line\r\n421 4.3.2 second line',
  ])
    expect(verdict(undefined, reply), reply).toBe('retry')
})

test('a reply more specific than the Status field wins', () => {
  expect(effectiveStatus({ status: '5.0.0', diagnostic: '421 4.3.2 System not accepting network messages' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '4.0.0', diagnostic: '421 try later' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '4.4.1', diagnostic: '421 4.3.2 x' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '4.4.1', diagnostic: '421 x' })).toBe('4.4.1')
  expect(effectiveStatus({ status: '5.3.2', diagnostic: '421 4.3.2 x' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '5.3.2', diagnostic: '421 x' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '5.1.1', diagnostic: '552 5.2.2 Over quota' })).toBe('5.2.2')
  expect(effectiveStatus({ status: '5.4.300', diagnostic: '550 5.4.300 Message expired -> 421 4.3.2 Service not available' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '5.0.0', diagnostic: '421 Connection timed out' })).toBe('4.4.1')
  expect(effectiveStatus({ status: 'nonsense', diagnostic: '550 5.1.1 no such user' })).toBe('5.1.1')
  expect(effectiveStatus({ status: '5.0.0', diagnostic: 'no reply at all' })).toBe('5.0.0')
  expect(effectiveStatus({})).toBeNull()
  expect(effectiveStatus({ status: '5.0.0', diagnostic: '550 5.1.1 no such user', authoritative: true })).toBe('5.0.0')
  expect(effectiveStatus({ status: ' 4.3.2 ', diagnostic: undefined })).toBe('4.3.2')
  for (const quote of ['smtp;550 5.1.1 no', ' SMTP ; 550 5.1.1 no', 'smtp;\t550 5.1.1', '550 5.1.1', '  550-5.1.1 no'])
    expect(effectiveStatus({ status: '5.0.0', diagnostic: quote }), quote).toBe('5.1.1')
  expect(effectiveStatus({ status: '5.0.0', diagnostic: 'host mx.example.org said: 550 5.1.1 no' })).toBe('5.1.1')
  expect(effectiveStatus({ status: undefined, diagnostic: '550 no' })).toBe('5.0.0')
  // 5.0.0 is no more specific than this reply
  expect(effectiveStatus({ status: '5.0.0', diagnostic: '421 no' })).toBe('4.3.2')
  expect(effectiveStatus({ status: '4.0.0', diagnostic: '550 no' })).toBe('4.0.0')
})

test('only a status about the recipient suppresses for good', () => {
  for (const status of ['5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1']) expect(verdict(status), status).toBe('suppress')
  for (const status of ['5.1.7', '5.1.8', '5.2.2', '5.3.2', '5.3.4', '5.4.6', '5.6.0', '5.7.1', '5.7.26', '5.0.0'])
    expect(verdict(status), status).toBe('refuse')
  expect(verdict(undefined, '521 host takes no mail')).toBe('refuse')
  // a reply of class 4 is never final, whatever a field makes of it
  for (const text of [
    '450 4.2.0 <ann@example.org>: Recipient temporarily unavailable',
    '421 4.3.0 Temporary problem',
    '451 Temporary lookup failure',
    '450 mailbox unavailable',
  ])
    expect(verdict('5.1.1', text), text).not.toBe('suppress')
  for (const text of [
    '550 5.1.1 Sender verify failed',
    '550 5.1.2 Your HELO host could not be resolved',
    '550 5.2.1 mailbox temporarily disabled',
  ])
    expect(verdict(text.slice(4, 9), text), text).toBe('refuse')
  for (const text of [
    '550 5.1.1 <ann@example.org> - 192.0.2.7 has sent to too many recipients this hour',
    '550 5.1.1 recipient rejected, rate limit exceeded',
    '550 5.1.1 Mailbox over quota',
    '550 5.2.1 The user you are trying to contact is receiving mail too quickly',
    '550 5.1.1 rejected by local policy',
    '550 5.1.1 your IP has a poor reputation',
    '550 5.1.10 blocked, see https://block.example.org/',
  ])
    expect(verdict(text.slice(4, 9).trim(), text), text).toBe('refuse')
  for (const text of [
    '550 5.1.1 <policy@example.org>: Recipient address rejected: User unknown in virtual alias table',
    '550-5.1.1 The email account that you tried to reach does not exist. https://support.example.com/rate-limits',
    '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup',
  ])
    expect(verdict(text.slice(4, 10).trim(), text), text).toBe('suppress')
})

test('other transient statuses are ignored, naming the setting, unless configured to be retried', () => {
  expect(judgeBounce({ status: '4.2.2' }, usual)).toMatchObject({ verdict: 'ignore', reason: expect.stringContaining('4.3.2') })
  expect(verdict('4.4.1', undefined, parseRetryStatuses('4.3.2, 4.4.*'))).toBe('retry')
  expect(verdict('4.2.2', undefined, parseRetryStatuses('4.*'))).toBe('retry')
  expect(verdict('2.0.0')).toBe('ignore')
  expect(verdict(undefined)).toBe('ignore')
})

test('a bounced retry continues on any transient status; the original send and permanent statuses follow the usual rules', () => {
  const of = (send: number) => encodeToken({ id: '00'.repeat(10), day: 1, send }, new Uint8Array(10))
  const judged = (status: string, token: string) => judgeBounce({ status, token }, usual).verdict
  expect(judged('4.2.2', of(1))).toBe('retry')
  expect(judged('4.2.2', of(0))).toBe('ignore')
  expect(judged('4.2.2', 'no token')).toBe('ignore')
  expect(judged('5.1.1', of(1))).toBe('suppress')
  expect(judged('5.7.1', of(1))).toBe('refuse')
  expect(judged('2.0.0', of(1))).toBe('ignore')
})

test('an invalid pattern is refused by name', () => {
  for (const text of ['5.3.2', '4', '4.3', '4.3.2,x', '*', '4.3.*2', ''])
    expect(() => parseRetryStatuses(text), text).toThrow(text === '' ? /default/ : /"/)
})

test('a permanent status is never retried, whatever the setting', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 99 }), (subject, detail) => {
      expect(verdict(`5.${subject}.${detail}`, undefined, parseRetryStatuses('4.*'))).not.toBe('retry')
    }),
  )
})

test('a reply is parsed into code, enhanced status code and unchanged text', () => {
  expect(parseReply('421 4.3.2 bye')).toEqual({ code: 421, status: '4.3.2', text: '421 4.3.2 bye' })
  expect(parseReply('550 user unknown')).toEqual({ code: 550, status: null, text: '550 user unknown' })
  // RFC 2034: the classes must agree
  expect(parseReply('550 4.1.1 odd').status).toBeNull()
  expect(parseReply('4.3.2 alone').code).toBe(0)
  expect(parseReply('450 4.2.0 grey\0listed').text).toBe('450 4.2.0 grey\ufffdlisted')
  expect(parseReply('2500 x').code).toBe(0)
  expect(statusOfReply(parseReply('250 fine'))).toBe('2.0.0')
  expect(statusOfReply(parseReply('550 no'))).toBe('5.0.0')
  expect(statusOfReply(parseReply('200 fine'))).toBe('2.0.0')
  expect(statusOfReply(parseReply('521 no mail here'))).toBe('5.3.2')
  expect(statusOfReply(parseReply('453 too much'))).toBe('4.3.2')
  expect(statusOfReply(parseReply('421 4.0.0 later'))).toBe('4.0.0')
  expect(statusOfReply(parseReply('450 4.0.0 System not accepting network messages'))).toBe('4.3.2')
  expect(statusOfReply(parseReply('500 System not accepting network messages'))).toBe('5.0.0')
  expect(statusOfReply(parseReply('550 5.11.250 x'))).toBe('5.11.250')
  expect(statusOfReply(parseReply('no reply'))).toBeNull()
  expect(statusOfReply(parseReply('hello'))).toBeNull()
})

test('a text that denies the recipient is distinguished from one that denies something else', () => {
  expect(recipientDetail('550 Requested action not taken: User Unknown')).toBe('1.1')
  expect(recipientDetail('550 This account is disabled')).toBe('2.1')
  expect(recipientDetail('550 blocked by policy')).toBeNull()
})

test('no text makes parsing a reply throw', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseReply(text).text).toBe(withoutControls(text))
      effectiveStatus({ status: text, diagnostic: text })
    }),
  )
})

test('retried statuses are class 4 patterns, with * for any subject or detail', () => {
  const matches = (patterns: string, ...statuses: string[]) =>
    statuses.map((status) => verdict(status, undefined, parseRetryStatuses(patterns)))
  expect(matches(' 4.3.2,, 4.4.*\n4.7.10 ', '4.3.2', '4.4.7', '4.4.99', '4.7.10')).toEqual(['retry', 'retry', 'retry', 'retry'])
  expect(matches('4.3.2, 4.4.*', '4.3.1', '4.2.2', '4.7.1')).not.toContain('retry')
  expect(matches('4.*', '4.0.0', '4.9.999', '5.3.2', '2.0.0').map((one) => one === 'retry')).toEqual([true, true, false, false])
  for (const wrong of ['5.1.1', '4.3', '4', 'x4.3.2', '4.3.2x', '4.1234.1', '4.1.1234', '4.a.1', '4.1.a'])
    expect(() => parseRetryStatuses(`4.3.2 ${wrong}`)).toThrow(`"${wrong}" is not a transient status`)
  for (const nothing of ['', ' , ']) expect(() => parseRetryStatuses(nothing)).toThrow('no status is named; the default is 4.3.2')
})

test('each verdict states its reason', () => {
  const judged = (status: string | undefined) => judgeBounce({ status }, usual)
  expect(judged(undefined)).toEqual({ verdict: 'ignore', status: null, reason: 'it has no status and quotes no reply' })
  expect(judged('4.3.2')).toMatchObject({ status: '4.3.2', reason: expect.stringMatching(/^4\.3\.2: \w/) })
  expect(judged('5.1.1')).toMatchObject({ verdict: 'suppress', status: '5.1.1', reason: expect.stringMatching(/^5\.1\.1: \w/) })
  expect(judged('5.7.1')).toMatchObject({ verdict: 'refuse', reason: expect.stringMatching(/^5\.7\.1: .+nobody is suppressed$/) })
  expect(judged('2.0.0')).toEqual({ verdict: 'ignore', status: '2.0.0', reason: '2.0.0 reports a success' })
})
