/** Which send a report is about, and whether it is news: the one rule of prepare, intake and lifecycle, as tables. */
import { describe, expect, test } from 'vitest'
import {
  type Attempt,
  type Bounce,
  isAbout,
  isBackupFailure,
  isFinal,
  isOfEarlierSend,
  isStale,
  isSuccess,
  type LoggedAttempt,
  relayTriesUntilMs,
  type Send,
  withReport,
} from '../../src/bounce/index.js'
import { HOUR, iso, NOW, token } from '../support/lifecycle.js'

const MINUTE = 60_000
const report = (more: Partial<Bounce> = {}): Bounce => ({ status: '4.3.2', bouncedAt: iso(NOW), ...more })
const by = (send: Send | null): Partial<Bounce> => (send === null ? {} : { token: token(send) })

describe('what a report says', () => {
  test.each<[string, Partial<Bounce>, { success: boolean; final: boolean }]>([
    ['a deferral', {}, { success: false, final: false }],
    ['a deferral that failed', { action: 'failed' }, { success: false, final: false }],
    ['delivered', { action: 'delivered', status: '2.0.0' }, { success: true, final: true }],
    ['relayed', { action: 'relayed', status: '2.0.0' }, { success: true, final: true }],
    ['expanded', { action: 'expanded', status: '2.0.0' }, { success: true, final: true }],
    ['class 2 without an action', { status: '2.1.5' }, { success: true, final: true }],
    ['class 2, but failed', { status: '2.0.0', action: 'failed' }, { success: false, final: false }],
    ['a permanent failure', { status: '5.1.1', diagnostic: '550 5.1.1 no' }, { success: false, final: true }],
    ['a permanent status that is only delayed', { status: '5.1.1', action: 'delayed' }, { success: false, final: false }],
    ['a class that a deferral was rewritten to', { status: '5.3.2', diagnostic: '421 4.3.2 no' }, { success: false, final: false }],
  ])('%s', (_, more, said) => {
    expect({ success: isSuccess(report(more)), final: isFinal(report(more)) }).toEqual(said)
  })

  test.each<[string, Partial<Bounce>, boolean]>([
    ['a failure of the backup relay', by('backup'), true],
    ['its success', { ...by('backup'), status: '2.0.0' }, false],
    ['a failure of a retry', by(1), false],
    ['a failure of an unknown send', {}, false],
  ])('%s', (_, more, is) => expect(isBackupFailure(report(more))).toBe(is))
})

const sent = (retry: number, more: Partial<Attempt> = {}): Attempt => ({
  ...{ retry, at: iso(NOW), outcome: 'accepted', status: '2.0.0', reply: '250 Ok' },
  ...more,
})
const sentByBackup = sent(0, { via: 'backup-relay' })

describe('which send it is about', () => {
  test.each<[string, Attempt, Partial<Bounce>, boolean]>([
    ['the token of that retry', sent(2), by(2), true],
    ['the token of that retry, at any time', sent(2), { ...by(2), bouncedAt: iso(NOW - 9 * HOUR) }, true],
    ['the token of an earlier retry', sent(2), by(1), false],
    ['the token of the first send', sent(1), by(0), false],
    ['the token of the backup relay', sent(2), by('backup'), false],
    ['the token of the backup relay, for its send', sentByBackup, by('backup'), true],
    ['no token, later than the send', sent(1), { bouncedAt: iso(NOW + 1) }, true],
    ['no token, five minutes before by another clock', sent(1), { bouncedAt: iso(NOW - 5 * MINUTE) }, true],
    ['no token, earlier than that', sent(1), { bouncedAt: iso(NOW - 5 * MINUTE - 1) }, false],
    ['no token, no later than the last failure', sent(1, { at: iso(NOW - 4 * HOUR) }), { bouncedAt: iso(NOW - HOUR) }, false],
    ['no token, just later than the last failure', sent(1, { at: iso(NOW - 4 * HOUR) }), { bouncedAt: iso(NOW - HOUR + 1) }, true],
  ])('%s', (_, attempt, more, is) => expect(isAbout(attempt, report(more), NOW - HOUR)).toBe(is))

  test.each<[string, Partial<Bounce>, boolean]>([
    ['a success of an earlier send, before the last failure', { ...by(1), status: '2.0.0', bouncedAt: iso(NOW - 1) }, true],
    ['at the same time', { ...by(1), status: '2.0.0' }, true],
    ['after the last failure', { ...by(1), status: '2.0.0', bouncedAt: iso(NOW + 1) }, false],
    ['a success of the last send', { ...by(2), status: '2.0.0', bouncedAt: iso(NOW - 1) }, false],
    ['a success of an unknown send', { status: '2.0.0', bouncedAt: iso(NOW - 1) }, false],
    ['a failure of an earlier send', { ...by(1), bouncedAt: iso(NOW - 1) }, false],
  ])('outdated: %s', (_, more, is) => expect(isOfEarlierSend(report(more), sent(2), NOW)).toBe(is))
})

describe('whether a bounce is news for a message that was sent before', () => {
  const logged = (more: Partial<LoggedAttempt> = {}): LoggedAttempt => ({ retry: 2, relayed: true, reported: null, ...more })
  test.each<[string, Send | null, number, LoggedAttempt | undefined, boolean]>([
    ['no token: later than anything known', null, NOW + 1, logged(), false],
    ['no token: no later', null, NOW, logged(), true],
    ['the first send, and nothing was logged: later', 0, NOW + 1, undefined, false],
    ['the first send, and nothing was logged: no later', 0, NOW, undefined, true],
    ['the last retry, which a relay accepted', 2, NOW - HOUR, logged(), false],
    ['an earlier retry', 1, NOW + HOUR, logged(), true],
    ['the backup relay, after a retry', 'backup', NOW + HOUR, logged(), true],
    ['the last retry, already reported', 2, NOW + HOUR, logged({ reported: {} }), true],
    ['the last retry, which the receiving system itself answered', 2, NOW + HOUR, logged({ relayed: false }), true],
    ['the backup relay, which sent last', 'backup', NOW, logged({ retry: 0, via: 'backup-relay' }), false],
    ['a retry before the backup relay', 1, NOW + HOUR, logged({ retry: 0, via: 'backup-relay' }), true],
  ])('%s', (_, send, atMs, last, is) => expect(isStale({ atMs, send }, last, NOW)).toBe(is))
})

test('a delayed report announces further tries, for 30 days at most', () => {
  expect(relayTriesUntilMs(report(), NOW)).toBe(0)
  expect(relayTriesUntilMs(report({ willRetryUntil: iso(NOW + HOUR) }), NOW)).toBe(NOW + HOUR)
  expect(relayTriesUntilMs(report({ willRetryUntil: iso(NOW + 90 * 24 * HOUR) }), NOW)).toBe(NOW + 30 * 24 * HOUR)
})

test('an attempt takes the status and the words of the report', () => {
  const bounced = { outcome: 'deferred', status: '4.3.2' }
  expect(withReport(sent(1), report({ diagnostic: '421 4.3.2 no' }), 'deferred')).toEqual({ ...sent(1), ...bounced, reply: '421 4.3.2 no' })
  expect(withReport(sent(1), report(), 'deferred')).toEqual({ ...sent(1), ...bounced, reply: 'a report said 4.3.2' })
})
