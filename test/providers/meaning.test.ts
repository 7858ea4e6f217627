/** How each provider's event is interpreted: the table of docs/providers.md, row by row. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { judgeBounce, parseRetryStatuses } from '../../src/bounce/index.js'
import {
  EVENT_TYPES,
  PROVIDER_NAMES,
  PROVIDERS,
  type Provider,
  parseWebhook,
  providerIdIn,
  UnknownEvent,
  UnreadableWebhook,
  withToken,
} from '../../src/providers/index.js'
import { GIVEN_UP, sesMail } from '../support/providers.js'

const about = { recipient: 'ann@example.org', token: 'a'.repeat(39), providerId: 'p', messageId: 'm@example.com' }
const read = (provider: Provider, event: object) => parseWebhook(provider, JSON.stringify(event))
const one = (provider: Provider, event: object) => read(provider, event)[0]
const DEFERRED = '400 try again later'
const retry = parseRetryStatuses('4.3.2')
/** The resulting action, with the verdict for a failure. */
function meaning(provider: Provider, event: object): string {
  const said = one(provider, event)
  if (said === undefined || said.recipient === null) return 'nothing'
  if (said.complaint !== undefined) return 'complaint'
  if (said.reported === undefined) return 'nothing'
  const { action, status } = said.reported
  return action === 'failed' ? judgeBounce({ status }, retry).verdict : action
}

const sesBounce = (bounceType: string, bounceSubType: string, recipient: object) => ({
  notificationType: 'Bounce',
  bounce: {
    bounceType,
    bounceSubType,
    bouncedRecipients: [{ emailAddress: about.recipient, ...recipient }],
    timestamp: '2026-11-25T10:00:00.000Z',
    feedbackId: 'f',
  },
  mail: sesMail(about),
})
const sesEvent = (eventType: string, more: object) => ({ eventType, mail: sesMail(about), ...more })
const sendgrid = (event: string, more: object = {}) => ({
  email: about.recipient,
  event,
  sg_event_id: 'e',
  timestamp: 1_790_000_000,
  ...more,
})
const mailgun = (event: string, more: object = {}) => ({
  event,
  recipient: about.recipient,
  timestamp: 1_790_000_000.5,
  'delivery-status': {},
  ...more,
})
const status = (code: number, message: string, more: object = {}) => ({ 'delivery-status': { code, message, description: '', ...more } })
const postmark = (Type: string, Details?: string) => ({
  RecordType: 'Bounce',
  Type,
  Email: about.recipient,
  MessageID: 'p',
  ...(Details === undefined ? {} : { Details }),
})
const resend = (type: string, more: object = {}) => ({
  type,
  created_at: '2026-11-25T10:00:00.000Z',
  data: { email_id: 'p', to: [about.recipient], ...more },
})

describe('an event means', () => {
  test.each<[string, Provider, object, string]>([
    ['SES stopped trying, and the system said 4.3.2', 'ses', GIVEN_UP.ses(about), 'retry'],
    ['SES: an automatic answer (Transient/General without an action)', 'ses', sesBounce('Transient', 'General', {}), 'nothing'],
    ['SES: an action without status or reply', 'ses', sesBounce('Transient', 'General', { action: 'failed' }), 'nothing'],
    ['SES: relayed', 'ses', sesBounce('Transient', 'General', { action: 'relayed', status: '2.0.0' }), 'nothing'],
    ['SES: delayed in a bounce', 'ses', sesBounce('Transient', 'General', { action: 'delayed', status: '4.3.2' }), 'delayed'],
    [
      'SES: the mailbox is full',
      'ses',
      sesBounce('Transient', 'MailboxFull', { action: 'failed', status: '5.2.2', diagnosticCode: 'smtp; 552 5.2.2 full' }),
      'refuse',
    ],
    [
      'SES: nobody of that name',
      'ses',
      sesBounce('Permanent', 'General', { action: 'failed', status: '5.1.1', diagnosticCode: 'smtp; 550 5.1.1 user unknown' }),
      'suppress',
    ],
    [
      'SES: its global list',
      'ses',
      sesBounce('Permanent', 'Suppressed', {
        action: 'failed',
        status: '5.1.1',
        diagnosticCode: 'Amazon SES has suppressed sending to this address',
      }),
      'refuse',
    ],
    ["SES: the account's list", 'ses', sesBounce('Permanent', 'OnAccountSuppressionList', { action: 'failed', status: '5.1.1' }), 'refuse'],
    ['SES: undetermined', 'ses', sesBounce('Undetermined', 'Undetermined', {}), 'nothing'],
    [
      'SES: DeliveryDelay',
      'ses',
      sesEvent('DeliveryDelay', {
        deliveryDelay: {
          delayType: 'TransientCommunicationFailure',
          delayedRecipients: [{ emailAddress: about.recipient, status: '4.3.2', diagnosticCode: 'smtp; 421 4.3.2' }],
          expirationTime: '2026-11-26T10:00:00.000Z',
          timestamp: '2026-11-25T10:00:00.000Z',
        },
      }),
      'delayed',
    ],
    [
      'SES: Delivery',
      'ses',
      sesEvent('Delivery', {
        delivery: { recipients: [about.recipient], smtpResponse: '250 2.6.0 Message received', timestamp: '2026-11-25T10:00:00.000Z' },
      }),
      'delivered',
    ],
    [
      'SES: Complaint',
      'ses',
      sesEvent('Complaint', {
        complaint: {
          complainedRecipients: [{ emailAddress: about.recipient }],
          complaintFeedbackType: 'abuse',
          timestamp: '2026-11-25T10:00:00.000Z',
        },
      }),
      'complaint',
    ],
    [
      'SES: a complaint that several may have made',
      'ses',
      sesEvent('Complaint', {
        complaint: { complainedRecipients: [{ emailAddress: 'a@example.org' }, { emailAddress: 'b@example.org' }] },
      }),
      'nothing',
    ],
    [
      "SES: a complaint that is its list's",
      'ses',
      sesEvent('Complaint', {
        complaint: { complainedRecipients: [{ emailAddress: about.recipient }], complaintSubType: 'OnAccountSuppressionList' },
      }),
      'nothing',
    ],
    ['SES: Reject', 'ses', sesEvent('Reject', { reject: { reason: 'Bad content' } }), 'refuse'],
    ['SES: Send', 'ses', sesEvent('Send', { send: {} }), 'nothing'],
    ['SES: Open', 'ses', sesEvent('Open', { open: {} }), 'nothing'],
    ['SES: Rendering Failure', 'ses', sesEvent('Rendering Failure', { failure: { errorMessage: 'attribute missing' } }), 'refuse'],
    [
      'SES: a subtype of tomorrow, with the reply of the receiving system',
      'ses',
      sesBounce('Transient', 'Telepathy', { action: 'failed', status: '4.3.2', diagnosticCode: 'smtp; 421 4.3.2 not now' }),
      'retry',
    ],
    ['SES: Subscription', 'ses', sesEvent('Subscription', {}), 'nothing'],
    ['SES: unsubscribed there', 'ses', sesBounce('Permanent', 'UnsubscribedRecipient', { action: 'failed', status: '5.1.1' }), 'refuse'],
    ['SES: its validation', 'ses', sesBounce('Permanent', 'EmailValidationSuppressed', { action: 'failed', status: '5.1.1' }), 'refuse'],
    ["SES: the tenant's list", 'ses', sesBounce('Permanent', 'OnTenantSuppressionList', { action: 'failed', status: '5.1.1' }), 'refuse'],
    ['SES: its time limit ran out', 'ses', sesBounce('Transient', 'CustomTimeoutExceeded', {}), 'ignore'],
    [
      "SES: a complaint that is its tenant's list's",
      'ses',
      sesEvent('Complaint', {
        complaint: { complainedRecipients: [{ emailAddress: about.recipient }], complaintSubType: 'OnTenantSuppressionList' },
      }),
      'nothing',
    ],
    ['SES: a topic is set up', 'ses', { notificationType: 'AmazonSnsSubscriptionSucceeded', message: 'You have ...' }, 'nothing'],
    ['SendGrid: blocked, given up', 'sendgrid', GIVEN_UP.sendgrid(about), 'retry'],
    ['SendGrid: bounce', 'sendgrid', sendgrid('bounce', { type: 'bounce', status: '5.1.1', reason: '550 5.1.1 no such user' }), 'suppress'],
    [
      'SendGrid: blocked for content',
      'sendgrid',
      sendgrid('bounce', { type: 'blocked', status: '5.7.1', reason: '550 5.7.1 spam' }),
      'refuse',
    ],
    [
      'SendGrid: a bounce without a status (no such domain)',
      'sendgrid',
      sendgrid('bounce', { type: 'blocked', reason: 'unable to get mx info: failed to get IPs from PTR record' }),
      'refuse',
    ],
    ['SendGrid: deferred', 'sendgrid', sendgrid('deferred', { response: DEFERRED, attempt: '5' }), 'delayed'],
    ['SendGrid: dropped, its list', 'sendgrid', sendgrid('dropped', { reason: 'Bounced Address', status: '5.0.0' }), 'refuse'],
    ['SendGrid: dropped, its own reason', 'sendgrid', sendgrid('dropped', { reason: 'Invalid SMTPAPI header' }), 'refuse'],
    ['SendGrid: dropped, its list of invalid addresses', 'sendgrid', sendgrid('dropped', { reason: 'Invalid Address' }), 'refuse'],
    [
      'SendGrid: the account is suspended',
      'sendgrid',
      { event: 'account_status_change', type: 'compliance_suspend', sg_event_id: 'e', timestamp: 1_790_000_000 },
      'nothing',
    ],
    ['SendGrid: delivered', 'sendgrid', sendgrid('delivered', { response: '250 OK' }), 'delivered'],
    ['SendGrid: spamreport', 'sendgrid', sendgrid('spamreport'), 'complaint'],
    ['SendGrid: processed', 'sendgrid', sendgrid('processed'), 'nothing'],
    ['Mailgun: old, given up', 'mailgun', GIVEN_UP.mailgun(about), 'retry'],
    [
      'Mailgun: temporary',
      'mailgun',
      mailgun('failed', { severity: 'temporary', reason: 'generic', ...status(421, '4.3.2 busy') }),
      'delayed',
    ],
    [
      'Mailgun: old, whatever its severity',
      'mailgun',
      mailgun('failed', { severity: 'temporary', reason: 'old', ...status(421, '4.3.2 busy') }),
      'retry',
    ],
    [
      'Mailgun: permanent',
      'mailgun',
      mailgun('failed', { severity: 'permanent', reason: 'bounce', ...status(550, '5.1.1 no such user', { 'enhanced-code': '5.1.1' }) }),
      'suppress',
    ],
    [
      'Mailgun: its list',
      'mailgun',
      mailgun('failed', {
        severity: 'permanent',
        reason: 'suppress-bounce',
        ...status(605, '', { description: 'Not delivering to previously bounced address' }),
      }),
      'refuse',
    ],
    [
      'Mailgun: rejected',
      'mailgun',
      {
        ...mailgun('rejected', { reject: { reason: 'Sandbox subdomains are for test purposes only', description: '' } }),
        ...{ recipient: undefined, message: { recipients: [about.recipient], headers: {} } },
      },
      'refuse',
    ],
    ['Mailgun: delivered', 'mailgun', mailgun('delivered', status(250, 'OK')), 'delivered'],
    ['Mailgun: complained', 'mailgun', mailgun('complained'), 'complaint'],
    ['Mailgun: accepted', 'mailgun', mailgun('accepted'), 'nothing'],
    ['Postmark: SoftBounce', 'postmark', GIVEN_UP.postmark(about), 'retry'],
    ['Postmark: Transient', 'postmark', postmark('Transient', 'smtp;421 4.3.2 busy'), 'delayed'],
    ['Postmark: DnsError', 'postmark', postmark('DnsError'), 'delayed'],
    ['Postmark: HardBounce', 'postmark', postmark('HardBounce', 'smtp;550 5.1.1 The email account does not exist'), 'suppress'],
    ['Postmark: Blocked', 'postmark', postmark('Blocked', 'smtp;550 5.7.1 blocked'), 'refuse'],
    ['Postmark: AutoResponder', 'postmark', postmark('AutoResponder', 'I am away'), 'nothing'],
    ['Postmark: SpamNotification', 'postmark', postmark('SpamNotification'), 'nothing'],
    ['Postmark: ManuallyDeactivated', 'postmark', postmark('ManuallyDeactivated'), 'refuse'],
    ['Postmark: on its list, by SMTP', 'postmark', postmark('SMTPApiError', 'Found inactive addresses: ann@example.org.'), 'refuse'],
    ['Postmark: Unconfirmed', 'postmark', postmark('Unconfirmed'), 'refuse'],
    ['Postmark: SpamComplaint', 'postmark', { ...postmark('SpamComplaint'), RecordType: 'SpamComplaint' }, 'complaint'],
    [
      'Postmark: Delivery',
      'postmark',
      { RecordType: 'Delivery', Recipient: about.recipient, DeliveredAt: '2026-11-25T10:00:00Z' },
      'delivered',
    ],
    ['Postmark: Open', 'postmark', { RecordType: 'Open', Recipient: about.recipient }, 'nothing'],
    ['Resend: bounced, with a reply of 4.3.2', 'resend', GIVEN_UP.resend(about), 'retry'],
    [
      'Resend: Transient without a reply',
      'resend',
      resend('email.bounced', { bounce: { type: 'Transient', subType: 'General', message: 'a general bounce' } }),
      'nothing',
    ],
    [
      'Resend: Permanent with a reply',
      'resend',
      resend('email.bounced', {
        bounce: { type: 'Permanent', subType: 'General', message: 'x', diagnosticCode: ['smtp; 550 5.1.1 user unknown'] },
      }),
      'suppress',
    ],
    [
      'Resend: Permanent without a reply',
      'resend',
      resend('email.bounced', { bounce: { type: 'Permanent', subType: 'General', message: 'a hard bounce message' } }),
      'refuse',
    ],
    [
      'Resend: its list',
      'resend',
      resend('email.bounced', { bounce: { type: 'Permanent', subType: 'OnAccountSuppressionList', message: 'x' } }),
      'refuse',
    ],
    ['Resend: suppressed', 'resend', resend('email.suppressed', { suppressed: { type: 'OnAccountSuppressionList' } }), 'refuse'],
    ['Resend: failed', 'resend', resend('email.failed', { failed: { reason: 'reached_daily_quota' } }), 'refuse'],
    ['Resend: delivery_delayed', 'resend', resend('email.delivery_delayed'), 'delayed'],
    ['Resend: delivered', 'resend', resend('email.delivered'), 'delivered'],
    ['Resend: complained', 'resend', resend('email.complained'), 'complaint'],
    ['Resend: several recipients', 'resend', resend('email.delivered', { to: ['a@example.org', 'b@example.org'] }), 'nothing'],
    ['Resend: opened', 'resend', resend('email.opened'), 'nothing'],
  ])('%s', (_, provider, event, expected) => {
    expect(meaning(provider, event)).toBe(expected)
  })

  test.each<[Provider, object, string]>([
    ['ses', sesEvent('Telepathy', {}), 'Telepathy'],
    ['ses', sesBounce('Permanent', 'Telepathy', { action: 'failed', status: '5.1.1' }), 'Bounce Permanent Telepathy'],
    ['ses', { mail: sesMail(about) }, 'nothing'],
    ['sendgrid', sendgrid('telepathy'), 'telepathy'],
    ['sendgrid', sendgrid('constructor'), 'constructor'],
    ['mailgun', mailgun('failed', { severity: 'internal' }), 'failed internal'],
    ['mailgun', mailgun('telepathy'), 'telepathy'],
    ['postmark', postmark('Telepathy'), 'Bounce Telepathy'],
    ['postmark', { RecordType: 'Telepathy', Recipient: about.recipient }, 'Telepathy'],
    ['resend', resend('email.telepathy'), 'email.telepathy'],
    ['resend', resend('email.bounced', { bounce: { type: 'Telepathy' } }), 'email.bounced Telepathy'],
  ])('%s: an unknown type (%j) is not guessed at', (provider, event, type) => {
    expect(() => read(provider, event)).toThrow(UnknownEvent)
    expect(() => read(provider, event)).toThrow(`calls it ${type}, which is not among the event types that it documents`)
  })

  test('the text by which Amazon SES confirms a topic is nothing', () => {
    expect(parseWebhook('ses', 'Successfully validated SNS topic for Amazon SES event publishing.')).toMatchObject([{ recipient: null }])
  })

  test.each(PROVIDERS)('%s: docs/providers.md names each event type', (provider) => {
    const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
    const [, part = ''] = page.split('## What each event means')[1]?.split(`### ${PROVIDER_NAMES[provider]}\n`) ?? []
    const [table = ''] = part.split(/\n##/)
    const quoted = [...table.matchAll(/`([^`]+)`/g)].map(([, name]) => (name as string).toLowerCase())
    const isNamed = (name: string) => quoted.some((one) => one === name.toLowerCase() || one.endsWith(`: ${name.toLowerCase()}`))
    const missing = Object.keys(EVENT_TYPES[provider])
      .flatMap((type) => type.split('/'))
      .filter((name) => !isNamed(name))
    expect(missing).toEqual([])
  })

  test('each event identifies its message by every returned field', () => {
    expect(one('ses', GIVEN_UP.ses({ ...about, returnPath: 'b@example.com' }))).toMatchObject({
      token: about.token,
      returnPath: 'b@example.com',
      providerId: 'p',
      messageId: 'm@example.com',
    })
    expect(one('sendgrid', GIVEN_UP.sendgrid(about))).toMatchObject({ token: about.token, providerId: 'p', messageId: 'm@example.com' })
    expect(one('mailgun', GIVEN_UP.mailgun({ ...about, returnPath: 'b@example.com' }))).toMatchObject({
      token: about.token,
      returnPath: 'b@example.com',
      messageId: 'm@example.com',
    })
    expect(one('postmark', GIVEN_UP.postmark(about))).toMatchObject({ token: about.token, providerId: 'p' })
    expect(one('resend', GIVEN_UP.resend(about))).toMatchObject({ token: about.token, providerId: 'p' })
  })

  test('an event with several recipients becomes one event each', () => {
    const event = GIVEN_UP.ses(about) as { bounce: { bouncedRecipients: object[] } }
    event.bounce.bouncedRecipients.push({
      emailAddress: 'bob@example.org',
      action: 'failed',
      status: '5.1.1',
      diagnosticCode: 'smtp; 550 5.1.1 unknown',
    })
    expect(read('ses', event).map(({ recipient, reported }) => [recipient, reported?.status])).toEqual([
      ['ann@example.org', '4.3.2'],
      ['bob@example.org', '5.1.1'],
    ])
  })

  test.each<[Provider, string]>([
    ['ses', '{"notificationType":"Bounce"}'],
    ['ses', '{"notificationType":"Bounce","mail":{}}'],
    ['sendgrid', '{"event":5}'],
    ['mailgun', '[]'],
    ['postmark', 'null'],
    ['resend', '{"type":"email.bounced"'],
  ])('%s: an event without the documented shape is unreadable', (provider, content) => {
    expect(() => parseWebhook(provider, content)).toThrow(UnreadableWebhook)
  })
})

describe('identity', () => {
  const message = Buffer.from('From: a@example.com\r\nSubject: x\r\n\r\nHello\r\n')

  test.each<[Provider, string]>([
    ['ses', 'X-SES-MESSAGE-TAGS: softbounce=tok\r\n'],
    ['sendgrid', 'X-SMTPAPI: {"unique_args":{"softbounce":"tok"}}\r\n'],
    ['mailgun', 'X-Mailgun-Variables: {"softbounce":"tok"}\r\n'],
    ['postmark', 'X-PM-Metadata-softbounce: tok\r\n'],
    ['resend', 'X-Softbounce-Token: tok\r\n'],
  ])('%s: the token goes into the field that the provider returns', (provider, field) => {
    expect(withToken(provider, message, 'tok').toString()).toBe(field + message.toString())
  })

  test("a message that already uses the provider's field stays unchanged", () => {
    const own = Buffer.concat([Buffer.from('x-smtpapi: {"category":"news"}\r\n'), message])
    expect(withToken('sendgrid', own, 'tok')).toBe(own)
  })

  test.each<[Provider, string, string | null]>([
    [
      'ses',
      '250 Ok 0102018d2e0f7c3a-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901-000000',
      '0102018d2e0f7c3a-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901-000000',
    ],
    ['sendgrid', '250 Ok: queued as euo2iKxdSayPF4YE4--I7A', 'euo2iKxdSayPF4YE4--I7A'],
    ['mailgun', '250 Great success', null],
    ['postmark', '250 2.0.0 Ok 0a129aee-e1cd-480d-b08d-4f48548ff48d queued', '0a129aee-e1cd-480d-b08d-4f48548ff48d'],
    ['resend', '250 Message queued as 56761188-7520-42d8-8898-ff6fc54ce618', '56761188-7520-42d8-8898-ff6fc54ce618'],
    ['ses', '250 2.0.0 Ok: queued as 4F5', null],
  ])('%s: %s', (provider, reply, id) => {
    expect(providerIdIn(provider, reply)).toBe(id)
  })
})
