// Hostile mails for the parser: grammar-based, and mutated from real ones; deterministic by seed.
import { readdirSync, readFileSync } from 'node:fs'

/** Mulberry32: a small seeded random number generator. */
export function random(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n) => Math.floor(next() * n)
  return { next, below, one: (list) => list[below(list.length)], chance: (p) => next() < p }
}

const corpus = new URL('../corpus/real/', import.meta.url)
const kinds = new URL('../corpus/kinds/', import.meta.url)
const mailsIn = (folder) => readdirSync(folder).flatMap((name) => (name.endsWith('.eml') ? [readFileSync(new URL(name, folder))] : []))
const REAL = [...mailsIn(corpus), ...mailsIn(kinds)]

const ADDRESSES = [
  'ann@example.org',
  '<ann@example.org>',
  'rfc822; ann@example.org',
  '"a b"@example.org',
  '@',
  'a@',
  '@b',
  'a@b@c',
  `${'x'.repeat(300)}@example.org`,
  'ann@xn--',
  'jörg@exämple.org',
  'utf-8; J\\x{F6}rg@x',
  'a\0b@c',
  '|/bin/sh',
  '=?utf-8?b?YUBi?=',
  '<>',
  '%s%n@x',
  "';drop table bounces@x",
  'ann@example.org\u202e',
  '\\x{110000}@x',
]
const STATUSES = [
  '4.3.2',
  '5.1.1',
  '5.0.0',
  '2.0.0',
  '9.9.9',
  '4.3.2 (x)',
  '4.03.2',
  '',
  '5.1.1.1.1',
  '4.3',
  '-1.0.0',
  '4.999999999999.1',
  '٤.٣.٢',
]
const REPLIES = [
  '421 4.3.2 System not accepting network messages',
  '550 5.1.1 no such user',
  '550-5.1.1 a 550 5.1.1 b',
  '999 x',
  '4',
  '',
  `550 ${'5.1.1 '.repeat(2000)}`,
  '550'.repeat(3000),
  'retry timeout exceeded',
  '((((((((((',
  '421\0',
  '#4.3.2',
  `${'['.repeat(5000)}`,
]
const TEXTS = [
  'Hi. This is the qmail-send program at mx.example.net.',
  "I'm afraid I wasn't able to deliver your message to the following addresses.",
  'This message was created automatically by mail delivery software.',
  'The following address(es) failed:',
  '   ----- Transcript of session follows -----',
  '   ----- The following addresses had permanent fatal errors -----',
  'While talking to mx.example.org:',
  '>>> RCPT TO:<ann@example.org>',
  '<<< 550 5.1.1 <ann@example.org>... User unknown',
  'Delivery to the following recipient failed permanently:',
  'There was an error delivering your mail to <ann@example.org>.',
  'did not reach the following recipient(s):',
  'Final-Recipient: rfc822; ann@example.org',
  'Action: failed',
  '--- Below this line is a copy of the message.',
  '------ This is a copy of the message, including all the headers. ------',
  'Return-Path: <news@example.com>',
  'Received: by mail.example.com',
  'Message-ID: <m@example.com>',
  'Technical details of permanent failure:',
  '{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"ann@example.org"}]}}',
]
const TYPES = [
  'multipart/report; report-type=delivery-status',
  'multipart/mixed',
  'text/plain',
  'text/plain; charset=iso-2022-jp',
  'text/plain; charset=klingon',
  'text/html',
  'message/delivery-status',
  'message/rfc822',
  'message/feedback-report',
  'multipart/report',
  'text/rfc822-headers',
  'application/octet-stream',
  '',
  ';;;;',
  'multipart/',
  '"',
  'text/plain; charset="utf-8',
  `x/${'y'.repeat(500)}`,
]
const ENCODINGS = ['7bit', '8bit', 'base64', 'quoted-printable', 'x-uuencode', '((((', '']
const EOLS = ['\r\n', '\r\n', '\n', '\r']

function reportFields(r) {
  const names = [
    'Final-Recipient',
    'Original-Recipient',
    'Action',
    'Status',
    'Diagnostic-Code',
    'Remote-MTA',
    'Reporting-MTA',
    'Last-Attempt-Date',
    'Will-Retry-Until',
    'X-Postfix-Sender',
    'Arrival-Date',
    'Message-ID',
    'constructor',
    '__proto__',
  ]
  const lines = []
  for (let i = r.below(12); i >= 0; i -= 1) {
    const name = r.one(names)
    const value =
      name === 'Status'
        ? r.one(STATUSES)
        : name === 'Diagnostic-Code'
          ? `smtp; ${r.one(REPLIES)}`
          : name === 'Action'
            ? r.one(['failed', 'delayed', 'delivered', 'expired', 'X-foo', ''])
            : /Date|Until/.test(name)
              ? r.one(['Tue, 24 Nov 2026 08:00:00 +0000', 'yesterday', '9'.repeat(200), '-1'])
              : r.one(ADDRESSES)
    lines.push(`${name}${r.chance(0.9) ? ':' : ''} ${value}`)
    if (r.chance(0.15)) lines.push('')
    if (r.chance(0.1)) lines.push(` ${r.one(TEXTS)}`)
  }
  return lines
}

function text(r) {
  const lines = []
  for (let i = r.below(25); i >= 0; i -= 1) {
    const kind = r.below(6)
    if (kind < 3) lines.push(r.one(TEXTS))
    else if (kind === 3)
      lines.push(
        `${' '.repeat(r.below(8))}${r.chance(0.5) ? '<' : ''}${r.one(ADDRESSES)}${r.chance(0.5) ? '>:' : ''} ${r.chance(0.5) ? r.one(REPLIES) : ''}`,
      )
    else if (kind === 4) lines.push(r.one(REPLIES))
    else lines.push('')
  }
  return lines
}

function head(r, type, encoding) {
  const lines = []
  if (r.chance(0.8)) lines.push(`From: ${r.one(['MAILER-DAEMON@x', 'Ann <ann@example.org>', '=?utf-8?q?=00?= <x@y>', ''])}`)
  if (r.chance(0.6))
    lines.push(`Subject: ${r.one(['failure notice', 'complaint about message from 1.2.3.4', 'Automatic reply', `${'a '.repeat(3000)}`])}`)
  if (r.chance(0.5)) lines.push('Date: Tue, 24 Nov 2026 08:00:00 +0000')
  if (r.chance(0.2)) lines.push(`X-Failed-Recipients: ${Array.from({ length: r.below(40) }, () => r.one(ADDRESSES)).join(', ')}`)
  if (r.chance(0.1)) lines.push('Auto-Submitted: auto-replied')
  if (r.chance(0.05)) lines.push(' folded where nothing is')
  if (r.chance(0.05)) lines.push('no colon at all')
  lines.push(`Content-Type: ${type}`)
  if (r.chance(0.4)) lines.push(`Content-Transfer-Encoding: ${encoding}`)
  return lines
}

function part(r, depth) {
  const encoding = r.one(ENCODINGS)
  if (depth < 6 && r.chance(0.45)) {
    const boundary = r.one(['b', 'bb', '=_x', '', 'b"', `${'z'.repeat(90)}`])
    const lines = head(
      r,
      `${r.one(['multipart/report; report-type=delivery-status', 'multipart/mixed', 'multipart/alternative'])}; boundary="${boundary}"`,
      encoding,
    )
    lines.push('')
    for (let i = r.below(5); i >= 0; i -= 1) lines.push(`--${boundary}`, ...part(r, depth + 1))
    if (r.chance(0.7)) lines.push(`--${boundary}--`)
    return lines
  }
  const body = r.chance(0.5) ? reportFields(r) : text(r)
  const encoded = encoding === 'base64' && r.chance(0.8) ? [Buffer.from(body.join('\r\n')).toString('base64')] : body
  return [...head(r, r.one(TYPES), encoding), ...(r.chance(0.95) ? [''] : []), ...encoded]
}

/** Mutates by removing, inserting, duplicating and swapping bytes. */
function mutated(r, bytes) {
  let mail = bytes
  for (let i = r.below(8); i >= 0; i -= 1) {
    const at = r.below(mail.length + 1)
    const to = Math.min(mail.length, at + r.below(400))
    const how = r.below(5)
    const piece =
      how === 0
        ? Buffer.alloc(0)
        : how === 1
          ? Buffer.from(Array.from({ length: r.below(40) }, () => r.below(256)))
          : how === 2
            ? Buffer.concat([mail.subarray(at, to), mail.subarray(at, to)])
            : how === 3
              ? Buffer.from(r.one([...TEXTS, ...REPLIES, ...ADDRESSES]))
              : Buffer.alloc(r.below(300), r.one([0, 10, 13, 32, 40, 45, 58, 255]))
    mail = Buffer.concat([mail.subarray(0, at), piece, mail.subarray(to)])
  }
  return mail
}

/** Generates one mail. */
export function hostileMail(r) {
  if (r.chance(0.4)) return mutated(r, r.one(REAL))
  const bytes = Buffer.from(part(r, 0).join(r.one(EOLS)), r.chance(0.8) ? 'utf8' : 'latin1')
  return r.chance(0.4) ? mutated(r, bytes) : bytes
}

const lines = (n, line) => `${line}\r\n`.repeat(n)
const reportHead =
  'From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n'

/** Generators of large mails, by name. */
const notice = (text, type = 'text/plain') => Buffer.from(`From: MAILER-DAEMON@x\r\nContent-Type: ${type}\r\n\r\n${text}`)

export const LARGE = {
  '1 MiB of <': () => notice('<'.repeat(1024 * 1024), 'text/html'),
  '1 MiB of tags that are not closed': () => notice('<p<a@b.example '.repeat(70_000), 'text/html'),
  '1 MiB of hidden elements': () => notice('<style>'.repeat(150_000), 'text/html'),
  'a list of 2,000 addresses with 990 paragraphs below': () =>
    notice(`${'  ann@example.org\r\n'.repeat(1000)}\r\n${'a word\r\n\r\n'.repeat(990)}`),
  '2,000 lines of 300 addresses': () => notice(`${'ann@example.org '.repeat(300)}\r\n`.repeat(2000)),
  'a mail of 25 MiB': () => Buffer.concat([REAL[0], Buffer.alloc(25 * 1024 * 1024, 'All work and no play makes Jack a dull boy.\r\n')]),
  '25 MiB in one line': () => Buffer.concat([Buffer.from(`${reportHead}`), Buffer.alloc(25 * 1024 * 1024, 'a')]),
  '25 MiB of base64': () =>
    Buffer.concat([
      Buffer.from('From: MAILER-DAEMON@x\r\nContent-Transfer-Encoding: base64\r\n\r\n'),
      Buffer.alloc(25 * 1024 * 1024, `${'QUFB'.repeat(19)}\r\n`),
    ]),
  '25 MiB of quoted-printable': () =>
    Buffer.concat([
      Buffer.from('From: MAILER-DAEMON@x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'),
      Buffer.alloc(25 * 1024 * 1024, '=41 \t \r\n'),
    ]),
  '10,000 nested parts': () =>
    Buffer.from(
      `From: MAILER-DAEMON@x\r\n${Array.from({ length: 10_000 }, (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`).join('')}`,
    ),
  '10,000 parts side by side': () =>
    Buffer.from(`Content-Type: multipart/mixed; boundary=b\r\n\r\n${lines(10_000, '--b\r\nContent-Type: text/plain\r\n\r\nx')}--b--`),
  'header lines of 1 MiB': () =>
    Buffer.from(
      `From: MAILER-DAEMON@x\r\nSubject: ${'x '.repeat(512 * 1024)}\r\nContent-Type: text/plain\r\n\r\n<ann@example.org>: 550 no`,
    ),
  'a head of 63 KiB of continuations': () => Buffer.from(`From: x\r\nSubject: x\r\n${lines(21_000, ' ')}\r\nbody`),
  'a head of 63 KiB of parentheses': () => Buffer.from(`Content-Transfer-Encoding: ${'('.repeat(63_000)}\r\n\r\nbody`),
  'a head of 63 KiB of carriage returns': () =>
    Buffer.from(`Subject: ${'\r'.repeat(250)}x${`${'\r'.repeat(250)}x`.repeat(240)}\r\n\r\nbody`),
  'a type of 63 KiB of parameters': () => Buffer.from(`Content-Type: text/plain${'; a*0="x'.repeat(7800)}\r\n\r\nbody`),
  'a type of 63 KiB of quotes': () => Buffer.from(`Content-Type: text/plain; a="${'\\"'.repeat(31_000)}\r\n\r\nbody`),
  'a file name of 63 KiB of encoded words': () =>
    Buffer.from(`Content-Disposition: attachment; filename="${'=?utf-8?q?=41?= '.repeat(3900)}"\r\n\r\nbody`),
  'a report of a million recipients': () =>
    Buffer.from(`${reportHead}${'Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 4.3.2\r\n\r\n'.repeat(600_000)}--b--`),
  'a report of a million fields in one group': () =>
    Buffer.from(`${reportHead}Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\n${lines(1_000_000, ' x')}--b--`),
  'a notice of a million addresses': () =>
    Buffer.from(`From: MAILER-DAEMON@x\r\n\r\nThis is the qmail-send program at x.\r\n${lines(400_000, '<ann@example.org>:')}`),
  'a notice of one line of 8 MiB': () =>
    Buffer.from(
      `From: MAILER-DAEMON@x\r\n\r\nThis message was created automatically by mail delivery software. ${'550 5.1.1 <a@b>: '.repeat(500_000)}`,
    ),
  'a transcript of 8 MiB': () =>
    Buffer.from(
      `From: MAILER-DAEMON@x\r\n\r\n----- Transcript of session follows -----\r\n${lines(150_000, '>>> RCPT TO:<ann@example.org>\r\n<<< 550 5.1.1 no such user here')}`,
    ),
  '50 MiB of NULs': () => Buffer.alloc(50 * 1024 * 1024),
}
