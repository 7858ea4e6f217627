import { describe, expect, test } from 'vitest'
import { canonicalMessage } from '../../src/delivery/index.js'
import { parseReport } from '../../src/dsn/index.js'
import { reportOf } from '../support/bounce-mails.js'
import { example } from '../support/skipping-time.js'

/** A notification with these per-recipient fields and this last part. */
function notification(recipients: string, original = '', outer = '', postfix = true): Buffer {
  return reportOf(recipients, {
    ...(outer === '' ? {} : { top: [outer] }),
    from: 'MAILER-DAEMON@mail.example.com',
    date: 'Tue, 24 Nov 2026 08:00:00 +0000',
    reportingMta: 'mail.example.com',
    ofMessage: postfix ? ['X-Postfix-Queue-ID: 18987984102'] : [],
    ...(original === '' ? {} : { original }),
  })
}

test('a real Postfix notification of 4.3.2 is parsed, with the original byte for byte', async () => {
  const read = await parseReport(example('invoice-4711.eml'))
  expect(read).toMatchObject({
    reportingMta: 'mail.example.com',
    messageId: 'invoice-4711@example.com',
    sender: 'bounces@example.com',
    recipients: [
      {
        recipient: 'ann@comes-back.example',
        action: 'failed',
        status: '4.3.2',
        diagnostic: '421 4.3.2 System not accepting network messages',
        remoteMta: '127.0.0.1',
      },
    ],
  })
  const file = example('invoice-4711.eml').toString('utf8')
  const embedded = file.slice(file.indexOf('Return-Path: <bounces@example.com>'), file.lastIndexOf('\n--'))
  expect(read?.original?.toString('utf8')).toBe(embedded)
  expect(canonicalMessage(read?.original as Buffer).toString()).not.toContain('Return-Path')
})

test('each recipient has its own action', async () => {
  const read = await parseReport(
    notification(
      [
        'Final-Recipient: rfc822; a@x.example\r\nOriginal-Recipient: rfc822;alias+2Btag@example.org\r\nAction: failed (for good)\r\nStatus: 5.1.1 (unknown)\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n  no such user\r\nLast-Attempt-Date: Tue, 24 Nov 2026 07:59:00 +0000',
        'Final-Recipient: rfc822; b@x.example\r\nAction: DELAYED\r\nStatus: 4.4.1\r\nWill-Retry-Until: Fri, 27 Nov 2026 08:00:00 +0000',
        'Final-Recipient: rfc822; c@x.example\r\nAction: relayed\r\nStatus: 2.0.0\r\nRemote-MTA: dns;mx.example.net',
      ].join('\r\n\r\n'),
    ),
  )
  expect(read?.recipients).toEqual([
    {
      recipient: 'a@x.example',
      originalRecipient: 'alias+tag@example.org',
      action: 'failed',
      status: '5.1.1',
      statusFrom: 'field',
      statusField: '5.1.1 (unknown)',
      replyCode: 550,
      diagnostic: '550 5.1.1 no such user',
      lastAttemptAt: new Date('2026-11-24T07:59:00Z'),
    },
    {
      recipient: 'b@x.example',
      action: 'delayed',
      status: '4.4.1',
      statusFrom: 'field',
      statusField: '4.4.1',
      willRetryUntil: new Date('2026-11-27T08:00:00Z'),
    },
    {
      recipient: 'c@x.example',
      action: 'relayed',
      status: '2.0.0',
      statusFrom: 'field',
      statusField: '2.0.0',
      remoteMta: 'mx.example.net',
    },
  ])
  expect(read?.date).toEqual(new Date('2026-11-24T08:00:00Z'))
})

test('internationalized addresses are parsed (RFC 6533)', async () => {
  const read = await parseReport(notification('Final-Recipient: utf-8; J\\x{F6}rg@example.org\r\nAction: failed\r\nStatus: 4.3.2'))
  expect(read?.recipients[0]?.recipient).toBe('Jörg@example.org')
})

describe('the original', () => {
  const recipient = 'Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 4.3.2'

  test('an original of headers only identifies the message, but cannot be sent again', async () => {
    const read = await parseReport(
      notification(
        recipient,
        'Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <m@example.com>\r\nReturn-Path: <b@example.com>\r\nSubject: x\r\n',
      ),
    )
    expect(read).toMatchObject({ messageId: 'm@example.com', sender: 'b@example.com' })
    expect(read?.original).toBeUndefined()
  })

  test('a truncated original does not count as complete', async () => {
    const whole = 'Message-ID: <m@example.com>\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\none\r\n--inner--\r\n'
    const part = (text: string) => notification(recipient, `Content-Type: message/rfc822\r\n\r\n${text}`)
    expect((await parseReport(part(whole)))?.original).toBeDefined()
    expect((await parseReport(part(whole.replace('--inner--\r\n', ''))))?.original).toBeUndefined()
  })

  test('a single-part original counts as complete only from Postfix, which never truncates it', async () => {
    const part = 'Content-Type: message/rfc822\r\n\r\nMessage-ID: <m@example.com>\r\n\r\nIt stops in the mid'
    expect((await parseReport(notification(recipient, part)))?.original).toBeDefined()
    expect((await parseReport(notification(recipient, part, '', false)))?.original).toBeUndefined()
  })

  test('an original of any bytes stays unchanged, also inside base64', async () => {
    const original = Buffer.from('Message-ID: <m@example.com>\r\n\r\n\xe4\xf6 no line end', 'latin1')
    const read = await parseReport(
      notification(recipient, `Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n${original.toString('base64')}`),
    )
    expect(canonicalMessage(read?.original as Buffer).equals(original)).toBe(true)
  })
})

test('a report of a million lines is parsed in bounded time', async () => {
  const began = Date.now()
  const read = await parseReport(notification('a: b\r\n\r\n'.repeat(300_000)))
  expect(read?.recipients ?? []).toEqual([])
  expect(Date.now() - began).toBeLessThan(10_000)
})

test('other mails yield no report, and no input makes parsing throw', async () => {
  for (const text of ['', 'hello', 'From: a@b\r\n\r\nhello', '\0\0\0', 'Content-Type: multipart/report; boundary=x\r\n\r\n--x', '--b--'])
    expect(await parseReport(Buffer.from(text)), JSON.stringify(text)).toBeNull()
  expect(await parseReport(notification('nothing: here'))).toBeNull()
  expect((await parseReport(notification('Final-Recipient: rfc822; nobody\r\nAction: failed')))?.recipients).toEqual([])
})
