import { expect, test } from 'vitest'
import { parseReply, type Stage } from '../../src/bounce/index.js'
import { classifyLookup, classifyResult, isLastingRejection, type SendOutcome } from '../../src/delivery/index.js'

const said = (at: Stage, text: string) => ({ kind: 'reply' as const, at, reply: parseReply(text), mailServer: 'mx.example.org' })
const judge = (kind: 'system' | 'relay', at: Stage, text: string): SendOutcome => classifyResult(said(at, text), { kind })
const word = (outcome: SendOutcome): string => (outcome.kind === 'rejected' && outcome.lasting ? 'rejected for good' : outcome.kind)

/** Stage, reply, and its outcome from the receiving system and from a relay. */
const TABLE: readonly (readonly [Stage, string, string, string])[] = [
  ['banner', '421 4.3.2 System not accepting network messages', 'deferred', 'local failure'],
  ['banner', '554 5.7.1 you are blocked', 'rejected', 'local failure'],
  ['banner', '521 host takes no mail', 'rejected', 'local failure'],
  ['EHLO', '421 4.3.2 busy', 'deferred', 'local failure'],
  ['EHLO', '550 5.5.2 bad name', 'rejected', 'local failure'],
  ['STARTTLS', '454 4.7.0 TLS not available', 'deferred', 'local failure'],
  ['AUTH', '535 5.7.8 wrong password', 'local failure', 'local failure'],
  ['AUTH', '454 4.7.0 later', 'local failure', 'local failure'],
  ['MAIL', '452 4.3.2 Connection rate limit exceeded', 'deferred', 'local failure'],
  ['MAIL', '550 5.1.8 bad sender domain', 'rejected', 'local failure'],
  ['MAIL', '553 5.1.7 bad sender', 'rejected', 'local failure'],
  ['RCPT', '450 4.2.1 greylisted', 'deferred', 'local failure'],
  ['RCPT', '550 5.1.1 no such user', 'rejected for good', 'rejected for good'],
  ['RCPT', '550 5.1.2 bad domain', 'rejected for good', 'rejected for good'],
  ['RCPT', '553 5.1.3 bad syntax', 'rejected for good', 'rejected for good'],
  ['RCPT', '551 5.1.6 has moved', 'rejected for good', 'rejected for good'],
  ['RCPT', '556 5.1.10 null MX', 'rejected for good', 'rejected for good'],
  ['RCPT', '550 5.2.1 disabled', 'rejected for good', 'rejected for good'],
  ['RCPT', '550 user unknown', 'rejected for good', 'rejected for good'],
  ['RCPT', '551 no such recipient here', 'rejected for good', 'rejected for good'],
  ['RCPT', '553 invalid recipient', 'rejected for good', 'rejected for good'],
  ['RCPT', '550 denied', 'rejected', 'rejected'],
  ['RCPT', '550 5.1.1 <a@relay.example.org>: User unknown in relay recipient table', 'rejected for good', 'rejected for good'],
  [
    'RCPT',
    '550-Verification failed for <b@example.com>\n550-Response: 550 5.1.1 User unknown\n550 Sender verify failed',
    'rejected',
    'rejected',
  ],
  ['RCPT', '550 Sender address does not exist', 'rejected', 'rejected'],
  ['RCPT', '553 sender rejected: user unknown', 'rejected', 'rejected'],
  ['RCPT', '554 user unknown', 'rejected', 'rejected'],
  ['RCPT', '552 5.2.2 mailbox full', 'rejected', 'rejected'],
  ['RCPT', '550 5.7.1 relaying denied', 'rejected', 'local failure'],
  ['RCPT', '554 relay access denied', 'rejected', 'local failure'],
  ['RCPT', '530 5.7.0 authenticate first', 'rejected', 'local failure'],
  ['DATA', '451 4.3.0 later', 'deferred', 'local failure'],
  ['DATA', '554 5.5.1 no', 'rejected', 'rejected'],
  ['final dot', '250 2.0.0 queued', 'accepted', 'accepted'],
  ['final dot', '250OK', 'accepted', 'accepted'],
  ['final dot', '250\tOK', 'accepted', 'accepted'],
  ['final dot', '200 fine', 'accepted', 'accepted'],
  ['final dot', '299 fine', 'accepted', 'accepted'],
  ['final dot', '300 what', 'deferred', 'local failure'],
  ['final dot', '354 go on', 'deferred', 'local failure'],
  ['final dot', '500 what', 'rejected', 'rejected'],
  ['RCPT', '250 2.1.5 fine', 'deferred', 'local failure'],
  ['DATA', '250 2.0.0 fine', 'deferred', 'local failure'],
  ['RCPT', '500 what', 'rejected', 'rejected'],
  ['RCPT', '530 authenticate first', 'rejected', 'local failure'],
  ['DATA', '530 authenticate first', 'rejected', 'local failure'],
  ['DATA', '554 5.7.1 no', 'rejected', 'rejected'],
  ['RCPT', '550 5.2.0 relaying denied', 'rejected', 'rejected'],
  ['RCPT', '550 relaying not permitted', 'rejected', 'local failure'],
  ['RCPT', '550 relay of this not allowed', 'rejected', 'local failure'],
  ['DATA', '554 relay access denied', 'rejected', 'rejected'],
  ['final dot', '421 4.3.2 shutting down', 'deferred', 'local failure'],
  ['final dot', '552 5.3.4 too big', 'rejected', 'rejected'],
  ['final dot', '550 5.1.1 said too late to be about one recipient alone', 'rejected', 'rejected'],
  ['final dot', '550 5.7.26 unauthenticated', 'rejected', 'rejected'],
]

for (const [at, reply, system, relay] of TABLE)
  test(`"${reply}" at ${at}: ${system} from the receiving system, ${relay} from a relay`, () => {
    expect(word(judge('system', at, reply))).toBe(system)
    expect(word(judge('relay', at, reply))).toBe(relay)
  })

test('a transparent relay counts as the receiving system from MAIL on, and as ours before', () => {
  const transparent = (at: Stage, text: string) => classifyResult(said(at, text), { kind: 'transparent' }).kind
  for (const at of ['banner', 'EHLO', 'STARTTLS', 'AUTH'] as const) expect(transparent(at, '421 4.3.2 busy'), at).toBe('local failure')
  for (const at of ['MAIL', 'RCPT', 'DATA', 'final dot'] as const) expect(transparent(at, '421 4.3.2 busy'), at).toBe('deferred')
  expect(transparent('final dot', '250 2.0.0 ok')).toBe('accepted')
  expect(classifyResult({ kind: 'refused', text: 'refused', mailServer: 'relay' }, { kind: 'transparent' }).kind).toBe('local failure')
})

test('an outcome keeps the reply, the stage and the mail server', () => {
  expect(judge('system', 'banner', '421 4.3.2 x')).toEqual({
    kind: 'deferred',
    status: '4.3.2',
    reply: '421 4.3.2 x',
    stage: 'banner',
    mailServer: 'mx.example.org',
  })
})

test('a refused or lost connection is a deferral from the receiving system, but a local failure from a relay', () => {
  const mailServer = 'mx.example.org'
  const cases = [
    [{ kind: 'refused', text: 'refused' }, 'deferred', 'local failure'],
    [{ kind: 'lost', at: 'MAIL', afterFinalDot: false, text: 'lost' }, 'deferred', 'local failure'],
    [{ kind: 'lost', at: 'final dot', afterFinalDot: true, text: 'lost' }, 'ambiguous', 'ambiguous'],
    [{ kind: 'unreachable', text: 'silent' }, 'unreachable', 'local failure'],
    [{ kind: 'local', text: 'no route' }, 'local failure', 'local failure'],
    [{ kind: 'stopped' }, 'stopped', 'stopped'],
    [{ kind: 'unsupported', status: '5.6.7', text: 'no SMTPUTF8' }, 'rejected', 'rejected'],
  ] as const
  for (const [result, system, relay] of cases) {
    expect(classifyResult({ ...result, mailServer }, { kind: 'system' }).kind, JSON.stringify(result)).toBe(system)
    expect(classifyResult({ ...result, mailServer }, { kind: 'relay' }).kind, JSON.stringify(result)).toBe(relay)
  }
})

test('without a reply the outcome has the stage, a description and our own status; a relay is named as such', () => {
  const mailServer = 'mx.example.org'
  const system = (result: object) => classifyResult({ ...result, mailServer } as never, { kind: 'system' })
  const relay = (result: object) => classifyResult({ ...result, mailServer } as never, { kind: 'relay' })
  const lost = { kind: 'lost', at: 'MAIL', afterFinalDot: false, text: 'lost' }
  expect(system(lost)).toEqual({ kind: 'deferred', status: '4.4.2', reply: 'lost', stage: 'MAIL', mailServer })
  expect(relay(lost)).toEqual({ kind: 'local failure', text: 'the relay: lost' })
  for (const judged of [system, relay])
    expect(judged({ ...lost, at: 'final dot', afterFinalDot: true })).toEqual({
      ...{ kind: 'ambiguous', status: '4.4.2', reply: 'lost', stage: 'final dot', mailServer },
    })
  expect(system({ kind: 'refused', text: 'refused' })).toEqual({
    kind: 'deferred',
    status: '4.4.1',
    reply: 'refused',
    stage: 'connect',
    mailServer,
  })
  expect(relay({ kind: 'refused', text: 'refused' })).toEqual({ kind: 'local failure', text: 'the relay: refused' })
  expect(system({ kind: 'unreachable', text: 'silent' })).toEqual({
    ...{ kind: 'unreachable', status: '4.4.1', reply: 'silent', stage: 'connect', mailServer },
  })
  expect(relay({ kind: 'unreachable', text: 'silent' })).toEqual({ kind: 'local failure', text: 'the relay: silent' })
  expect(system({ kind: 'local', text: 'no route' })).toEqual({ kind: 'local failure', text: 'no route' })
  expect(system({ kind: 'unsupported', status: '5.6.7', text: 'no SMTPUTF8' })).toEqual({
    ...{ kind: 'rejected', lasting: false, status: '5.6.7', reply: 'no SMTPUTF8', stage: 'EHLO', mailServer },
  })
  expect(judge('relay', 'MAIL', '451 4.3.0 later')).toEqual({
    kind: 'local failure',
    text: 'the relay mx.example.org said at MAIL: 451 4.3.0 later',
  })
})

test('a transient refusal without a class 4 status gets 4.0.0', () => {
  expect(judge('system', 'MAIL', '451 later')).toMatchObject({ kind: 'deferred', status: '4.0.0' })
  expect(judge('system', 'RCPT', '250 2.1.5 fine')).toMatchObject({ kind: 'deferred', status: '4.5.0' })
  expect(judge('system', 'RCPT', 'no reply at all')).toMatchObject({ kind: 'deferred', status: '4.5.0' })
})

test('each lookup failure has its own status, the domain as mail server, and the stage MX', () => {
  const judged = (kind: Parameters<typeof classifyLookup>[0]['kind']) => classifyLookup({ kind, text: 'it says so' }, 'example.org')
  const answer = { reply: 'it says so', stage: 'MX', mailServer: 'example.org' }
  expect(judged('null mx')).toEqual({ kind: 'rejected', lasting: true, status: '5.1.10', ...answer })
  expect(judged('no domain')).toEqual({ kind: 'rejected', lasting: false, status: '5.1.2', ...answer })
  expect(judged('unroutable')).toEqual({ kind: 'deferred', status: '4.4.4', ...answer })
  expect(judged('unresolved')).toEqual({ kind: 'unreachable', status: '4.4.3', ...answer })
  expect(judged('local')).toEqual({ kind: 'local failure', text: 'it says so' })
  // only a null MX is a statement about the recipient
  const at = (stage: 'MX', status: string) => isLastingRejection({ stage, status, reply: 'it says so' })
  expect([at('MX', '5.1.10'), at('MX', '5.1.2')]).toEqual([true, false])
})

test('a required TLS failure is a deferral from the receiving system, and a local failure from a relay', () => {
  const policy = { kind: 'policy' as const, at: 'STARTTLS' as const, text: 'no TLS', mailServer: 'mx.example.org' }
  expect(classifyResult(policy, { kind: 'system' })).toEqual({
    ...{ kind: 'deferred', status: '4.7.5', reply: 'no TLS', stage: 'STARTTLS', mailServer: 'mx.example.org' },
  })
  expect(classifyResult(policy, { kind: 'relay' })).toEqual({ kind: 'local failure', text: 'no TLS' })
})
