/** Damage that mails show in life: fields apart, MIME structure that lost something, charsets and encodings that are not what they say. */
import { expect, test } from 'vitest'
import { parseReport } from '../../src/dsn/index.js'

const FROM = 'From: MAILER-DAEMON@mx.example\nSubject: failure\n'
const report = (fields: string, type = 'multipart/report; boundary=b') =>
  Buffer.from(`${FROM}Content-Type: ${type}\n\n--b\nContent-Type: message/delivery-status\n\n${fields}\n--b--\n`)
const ANN = 'Final-Recipient: rfc822; ann@c.example\nAction: failed\nStatus: 5.1.1\n'
const notice = 'Your message to ann@c.example failed: 550 5.1.1 no'

test.each<[string, Buffer, string[]]>([
  ['empty lines between the fields of a recipient', report(ANN.replaceAll('\n', '\n\n')), ['ann@c.example 5.1.1']],
  [
    'the same for two recipients',
    report(
      `Reporting-MTA: dns; mx.example\n\n${ANN}Final-Recipient: rfc822; ben@c.example\nAction: failed\nStatus: 4.3.2\n`.replaceAll(
        '\n',
        '\n\n',
      ),
    ),
    ['ann@c.example 5.1.1', 'ben@c.example 4.3.2'],
  ],
  ['no semicolon before the boundary', report(ANN, 'multipart/report boundary=b'), ['ann@c.example 5.1.1']],
  ['a boundary that no part has', report(ANN, 'multipart/report; boundary=other'), ['ann@c.example 5.1.1']],
  [
    'base64 that was cut',
    Buffer.from(`${FROM}Content-Transfer-Encoding: base64\n\n${Buffer.from(notice).toString('base64').slice(0, -1)}\n`),
    ['ann@c.example 5.1.1'],
  ],
  ['text that only claims to be base64', Buffer.from(`${FROM}Content-Transfer-Encoding: base64\n\n${notice}\n`), ['ann@c.example 5.1.1']],
  [
    'text that only claims to be UTF-16',
    Buffer.from(`${FROM}Content-Type: text/plain; charset=utf-16\n\n${notice}\n`),
    ['ann@c.example 5.1.1'],
  ],
  ['a mail that is UTF-16 as a whole', Buffer.from(`\ufeff${FROM}\n${notice}\n`, 'utf16le'), ['ann@c.example 5.1.1']],
])('%s', async (_, mail, expected) => {
  expect((await parseReport(mail))?.recipients.map(({ recipient, status }) => `${recipient} ${status}`)).toEqual(expected)
})
