/** The reply that a text quotes, and the status that counts beside a Status field: tables. */
import { describe, expect, test } from 'vitest'
import {
  channelsFor,
  effectiveStatus,
  judgeBounce,
  parseRetryStatuses,
  provesGone,
  quotedReply,
  readStatus,
  specificity,
} from '../../src/bounce/index.js'

describe('the reply in a text', () => {
  test.each<[string, string, { code: number; status: string | null } | null]>([
    ['both codes', '550 5.1.1 no such user', { code: 550, status: '5.1.1' }],
    ['both codes, later in the text', 'host mx said: 450-4.2.0 later', { code: 450, status: '4.2.0' }],
    ['the most specific pair', '550 5.0.0 no. 550 5.1.0 no. 550 5.1.1 no', { code: 550, status: '5.1.1' }],
    ['the first of two that are as specific', '550 5.1.1 no. 550 5.2.1 no', { code: 550, status: '5.1.1' }],
    ['a reason, and not the expiry beside it', '550 5.4.7 expired. 450 4.2.1 greylisted', { code: 450, status: '4.2.1' }],
    ['an expiry alone', '550 5.4.7 expired', { code: 550, status: '5.4.7' }],
    ['codes of two classes are no pair', '550 4.1.1 odd', { code: 550, status: null }],
    ['an enhanced code elsewhere, of the same class', 'said: 550 no (5.7.1)', { code: 550, status: '5.7.1' }],
    ['an enhanced code elsewhere, of another class', 'said: 550 no (4.7.1)', { code: 550, status: null }],
    ['the most specific one of them', 'said: 550 no (5.7.0) (5.7.1)', { code: 550, status: '5.7.1' }],
    ['an enhanced code that is more specific than the pair', '550 5.0.0 no (5.7.1)', { code: 550, status: '5.7.1' }],
    ['an enhanced code that is as specific as the pair', '550 5.1.1 no (5.7.1)', { code: 550, status: '5.1.1' }],
    ['an enhanced code alone', 'failed for 5.7.1 reasons', { code: 0, status: '5.7.1' }],
    ['a basic code alone', '550 no', { code: 550, status: null }],
    ['a basic code after words', 'the server replied 451 later', { code: 451, status: null }],
    ['a number that is no basic code', 'error 499 of a program', null],
    ['the next one that is', 'error 499 of a program; 550 no', { code: 550, status: null }],
    ['a size', 'limit: 552 kb', null],
    ['a number within a sentence', 'there are 550 people', null],
    ['a version number', 'agent 5.9.1 stopped', null],
    ['the last registered subject', 'stopped: 5.7.1', { code: 0, status: '5.7.1' }],
    ['part of a longer number', 'build 5.1.1.4 of 15.1.1', null],
    ['no number at all', 'no such user', null],
  ])('%s', (_, text, reply) => expect(quotedReply(text)).toEqual(reply))

  test.each<[string, string, { code: number; status: string | null }]>([
    ['the cause of an expiry', '550 5.4.300 Message expired -> 421 4.3.2 not now', { code: 421, status: '4.3.2' }],
    ['the cause of a generic code', '554 5.0.0 failed -> 452 4.3.1 full', { code: 452, status: '4.3.1' }],
    ['the cause of a code without status', '554 failed -> 452 4.3.1 full', { code: 452, status: '4.3.1' }],
    ['a cause that is named already', '550 5.1.1 no such user -> 421 4.3.2 not now', { code: 550, status: '5.1.1' }],
    ['no cause behind the arrow', '550 5.4.7 expired -> mx.example.org', { code: 550, status: '5.4.7' }],
    ['nothing before the arrow', 'failed -> 421 4.3.2 not now', { code: 421, status: '4.3.2' }],
    ['an arrow at the beginning', '-> 421 4.3.2 not now', { code: 421, status: '4.3.2' }],
    ['the last arrow', '550 5.4.7 a -> b -> 421 4.3.2 not now', { code: 421, status: '4.3.2' }],
  ])('behind an arrow: %s', (_, text, reply) => expect(quotedReply(text)).toEqual(reply))

  test.each([
    [null, 0],
    ['no status', 0],
    ['5.0.0', 1],
    ['5.1.0', 2],
    ['5.1.1', 3],
    ['5.0.1', 3],
  ])('%s is specific to degree %i', (status, degree) => expect(specificity(status)).toBe(degree))
})

describe('the status that counts', () => {
  test.each<[string, string | undefined, string | undefined, ReturnType<typeof readStatus>]>([
    ['nothing', undefined, undefined, {}],
    ['only a field', '5.1.1', undefined, { status: '5.1.1', statusFrom: 'field', statusField: '5.1.1' }],
    ['a field with spaces and words', ' 5.1.10 (no)', undefined, { status: '5.1.10', statusFrom: 'field', statusField: ' 5.1.10 (no)' }],
    ['a field with long parts', '5.123.456', undefined, { status: '5.123.456', statusFrom: 'field', statusField: '5.123.456' }],
    ['a field that is part of a number', '5.1.1234', undefined, { status: '5.0.0', statusFrom: 'text', statusField: '5.1.1234' }],
    ['a field that begins with words', 'X 5.1.1', undefined, { status: '5.1.1', statusFrom: 'enhanced code', statusField: 'X 5.1.1' }],
    [
      'a field that holds a reply',
      '553 5.3.4 too large',
      undefined,
      { status: '5.3.4', statusFrom: 'enhanced code', statusField: '553 5.3.4 too large', replyCode: 553 },
    ],
    ['a field that holds words', 'user unknown', undefined, { status: '5.1.1', statusFrom: 'text', statusField: 'user unknown' }],
    [
      'a class that was rewritten',
      '5.3.2',
      '421 4.3.2 not now',
      { status: '4.3.2', statusFrom: 'enhanced code', statusField: '5.3.2', replyCode: 421 },
    ],
    [
      'a lasting field over a temporary reply',
      '5.1.1',
      '450 later',
      { status: '4.0.0', statusFrom: 'basic code', statusField: '5.1.1', replyCode: 450 },
    ],
    [
      'a lasting field over the first code of class 4',
      '5.1.1',
      '400 later',
      { status: '5.1.1', statusFrom: 'field', statusField: '5.1.1' },
    ],
    ['a generic field', '5.0.0', '550 5.1.1 no', { status: '5.1.1', statusFrom: 'enhanced code', statusField: '5.0.0', replyCode: 550 }],
    ['a generic reply', '5.1.1', '550 5.0.0 no', { status: '5.1.1', statusFrom: 'field', statusField: '5.1.1', replyCode: 550 }],
    ['the same in both', '5.1.1', '550 5.1.1 no', { status: '5.1.1', statusFrom: 'field', statusField: '5.1.1', replyCode: 550 }],
    ['an expiry', '5.4.7', 'status 5.2.2', { status: '5.2.2', statusFrom: 'enhanced code', statusField: '5.4.7' }],
    ['a contradiction', '5.1.1', '552 5.2.2 full', { status: '5.2.2', statusFrom: 'enhanced code', statusField: '5.1.1', replyCode: 552 }],
    ['a contradiction by an enhanced code alone', '5.1.1', 'see 5.2.2', { status: '5.1.1', statusFrom: 'field', statusField: '5.1.1' }],
    [
      'a bare 421 is more specific than a generic field',
      '5.0.0',
      '421 no',
      { status: '4.3.2', statusFrom: 'basic code', statusField: '5.0.0', replyCode: 421 },
    ],
    ['a bare code beside no field: its words', undefined, '550 mailbox full', { status: '5.2.2', statusFrom: 'text', replyCode: 550 }],
    [
      'a bare code beside no field: who is unknown',
      undefined,
      '550 no such user here',
      { status: '5.1.1', statusFrom: 'text', replyCode: 550 },
    ],
    [
      'a bare code of class 4 beside no field: its words',
      undefined,
      '450 mailbox full',
      { status: '4.2.2', statusFrom: 'text', replyCode: 450 },
    ],
    ['a bare 500 with words', undefined, '500 mailbox full', { status: '5.2.2', statusFrom: 'text', replyCode: 500 }],
    ['a bare code without known words', undefined, '550 sorry', { status: '5.0.0', statusFrom: 'basic code', replyCode: 550 }],
    [
      'a bare code beside a field: its class alone',
      '5.0.0',
      '550 mailbox full',
      { status: '5.0.0', statusFrom: 'field', statusField: '5.0.0', replyCode: 550 },
    ],
    ['an enhanced code without a basic one', undefined, 'failed: 5.7.1', { status: '5.7.1', statusFrom: 'enhanced code' }],
    ['words alone', undefined, 'user unknown', { status: '5.1.1', statusFrom: 'text' }],
    ['no known words', undefined, 'sorry', { status: '5.0.0', statusFrom: 'text' }],
  ])('%s', (_, field, diagnostic, read) => expect(readStatus(field, diagnostic)).toEqual(read))

  test('while the sending system still tries, words mean a deferral', () => {
    expect(readStatus(undefined, 'mailbox full', false).status).toBe('4.2.2')
    expect(readStatus(undefined, 'mailbox full', true).status).toBe('5.2.2')
  })

  test('only the beginning of a text counts', () => {
    expect(readStatus(undefined, `${' '.repeat(10_001)}550 5.1.1 no`)).toEqual({})
    expect(readStatus(undefined, `${' '.repeat(9_900)}550 5.1.1 no`).status).toBe('5.1.1')
  })

  test.each<[string, Parameters<typeof effectiveStatus>[0], string | null]>([
    ['an authoritative status', { status: '4.2.2', diagnostic: '421 4.3.2 no', authoritative: true }, '4.2.2'],
    ['the same, not authoritative', { status: '4.2.2', diagnostic: '421 4.3.2 no' }, '4.3.2'],
    ['a status in spaces', { status: ' 5.1.1 ' }, '5.1.1'],
    ['authoritative, but no status', { status: 'no', diagnostic: '421 4.3.2 no', authoritative: true }, '4.3.2'],
    ['a status that is none', { status: 'no' }, null],
    ['no status', { status: undefined }, null],
    ['a diagnostic of the type smtp', { status: '5.0.0', diagnostic: 'smtp; 550 5.1.1 no' }, '5.1.1'],
    ['in any case, with spaces', { status: undefined, diagnostic: '  SMTP ;  421 no' }, '4.3.2'],
    ['without a space', { status: undefined, diagnostic: 'smtp;421 no' }, '4.3.2'],
    ['words are no reply', { status: undefined, diagnostic: 'user unknown' }, null],
    ['a reply in words', { status: undefined, diagnostic: '550 user unknown' }, '5.0.0'],
    ['another text that names smtp', { status: undefined, diagnostic: 'by smtp; user unknown' }, null],
  ])('for callers: %s', (_, reported, status) => expect(effectiveStatus(reported)).toBe(status))
})

describe('a recipient who is gone for good', () => {
  test.each<[string, string, string | undefined, boolean]>([
    ['a lasting code without a text', '5.1.1', undefined, true],
    ['at the start of the text', '5.1.1', '550 5.1.1 no such user; the sender may retry', false],
    ['a deferral in the text', '5.1.1', '450 4.2.0 later', false],
    ['the first deferral', '5.1.1', 'said: 421 later', false],
    ['a refusal in the text', '5.1.1', '500 5.1.1 no', true],
    ['about other things, but its own code is first', '5.1.1', '550 5.1.1 address verification failed: no such user', true],
    ['about other things, and another code is first', '5.1.1', '550 5.7.1 address verification failed', false],
    ['a closed mailbox, about other things', '5.2.1', '550 5.2.1 address verification failed', false],
    ['what stands far behind does not count', '5.1.1', `550 5.1.1 no${' '.repeat(2000)}rate limit`, true],
  ])('%s', (_, status, text, gone) => expect(provesGone(status, text)).toBe(gone))
})

describe('the reason quotes the reply', () => {
  const reason = (diagnostic?: string) =>
    /(?: \("(.*)"\))?; /s.exec(
      judgeBounce({ status: '5.7.1', ...(diagnostic === undefined ? {} : { diagnostic }) }, parseRetryStatuses('4.3.2')).reason,
    )?.[1]
  test.each<[string, string | undefined, string | undefined]>([
    ['no diagnostic', undefined, undefined],
    ['only codes', '550 5.7.1', undefined],
    ['its words', '550 5.7.1 not today', 'not today'],
    ['its words, of a diagnostic of the type smtp', ' smtp ; 550-5.7.1 not today', 'not today'],
    ['several lines', '550 5.7.1 not\r\n  today ', 'not today'],
    ['120 characters', `550 5.7.1 ${'x'.repeat(120)}`, 'x'.repeat(120)],
    ['more than 120', `550 5.7.1 ${'x'.repeat(121)}`, `${'x'.repeat(120)}…`],
    ['numbers within', '550 5.7.1 see smtp; 12 and 13', 'see smtp; 12 and 13'],
  ])('%s', (_, diagnostic, words) => expect(reason(diagnostic)).toBe(words))
})

describe('the channels of an event', () => {
  const webhook = { url: 'https://example.com' }
  test.each([
    ['no type', [], webhook, 'queue', null],
    ['no channel', ['bounce.retrying'], null, null, null],
    ['a webhook', ['bounce.retrying'], webhook, null, { webhook: true }],
    ['a task queue', ['bounce.retrying'], null, 'queue', { webhook: false, taskQueue: 'queue' }],
    ['both', ['bounce.retrying'], webhook, 'queue', { webhook: true, taskQueue: 'queue' }],
  ] as const)('%s', (_, types, to, taskQueue, channels) =>
    expect(channelsFor(types, { webhook: to, taskQueue, types: [] })).toEqual(channels),
  )
})
