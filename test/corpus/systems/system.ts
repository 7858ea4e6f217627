/**
 * Bounces in the layouts of real mail systems, made from the texts that those systems' sources and manuals show. Each system writes its
 * notices for the same failures.
 */

/** One recipient that failed. */
export interface Failed {
  readonly address: string
  /** What the receiving system said. */
  readonly reply: string
  readonly status: string
}

/** What happened to a message. */
export interface Failure {
  readonly key: string
  readonly failed: readonly Failed[]
  readonly isDelayed: boolean
}

/** A notice of a system, and what must be read in it. */
export interface Bounce {
  readonly name: string
  readonly mail: string
  readonly expected: {
    readonly recipients: readonly { readonly recipient: string; readonly status: string }[]
    readonly action: 'failed' | 'delayed'
    /** Undefined if the notice does not name the original. */
    readonly messageId?: string
  }
}

/** How a system writes its notices. */
export interface System {
  readonly name: string
  readonly from: string
  readonly subject: string
  readonly head?: readonly string[]
  /** The notice's text, without the original. */
  readonly notice: (failure: Failure, host: string) => readonly string[]
  /** What stands between notice and original in one text; undefined if parts separate them. */
  readonly separator?: readonly string[]
  /** How the original comes back. */
  readonly original: 'in the text' | 'a part' | 'headers' | 'not'
  /** Whether a report (RFC 3464) stands beside the notice. */
  readonly reports?: boolean
  readonly isHtml?: boolean
  /** Whether it sends notices of delay, and of several recipients. */
  readonly delays?: boolean
  readonly one?: boolean
  /** The status that its words mean, for a system that quotes no reply. */
  readonly statusOf?: (failed: Failed) => string
}

const ORIGINAL = [
  'Return-Path: <news@sender.example.com>',
  'Received: from app.sender.example.com (app.sender.example.com [192.0.2.10])',
  '\tby mx.example.net with ESMTPS id 4Fk2; Mon, 02 Jun 2025 09:59:00 +0000',
  'From: News <news@sender.example.com>',
  'To: Readers <readers@sender.example.com>',
  'Subject: News of June',
  'Message-ID: <june.1@sender.example.com>',
  'Date: Mon, 02 Jun 2025 09:59:00 +0000',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=utf-8',
  '',
  'Good morning,',
  'write to the editor: editor@sender.example.com',
  '',
]
const HEADERS = ORIGINAL.slice(0, ORIGINAL.indexOf(''))
const HOST = 'mx.example.net'

const GONE = { reply: '550 5.1.1 User unknown', status: '5.1.1' }
const DOWN = { reply: '421 4.3.2 System not accepting network messages', status: '4.3.2' }
const one = (key: string, about: { reply: string; status: string }, isDelayed = false): Failure => ({
  key,
  failed: [{ address: 'ann@example.org', ...about }],
  isDelayed,
})

/** What happens to messages. */
export const FAILURES: readonly Failure[] = [
  one('down', DOWN),
  one('gone', GONE),
  one('full', { reply: '552 5.2.2 Mailbox full', status: '5.2.2' }),
  one('busy', { reply: '450 4.2.1 The user receives mail too quickly', status: '4.2.1' }),
  one('refused', { reply: '554 5.7.1 Message refused by policy', status: '5.7.1' }),
  one('bare', { reply: '550 no such user here', status: '5.1.1' }),
  one('delayed', DOWN, true),
  {
    key: 'several',
    isDelayed: false,
    failed: [
      { address: 'ann@example.org', ...GONE },
      { address: 'ben.lee@other.example', ...DOWN },
    ],
  },
]

/** The notices of a system for every failure that it can write of. */
export function bouncesOf(system: System): Bounce[] {
  return FAILURES.filter((f) => (!f.isDelayed || system.delays === true) && (f.failed.length === 1 || system.one !== true)).map(
    (failure) => ({
      name: `${system.name}, ${failure.key}`,
      mail: mailOf(system, failure),
      expected: {
        recipients: failure.failed.map((f) => ({ recipient: f.address, status: system.statusOf?.(f) ?? f.status })),
        action: failure.isDelayed ? 'delayed' : 'failed',
        ...(system.original === 'not' ? {} : { messageId: 'june.1@sender.example.com' }),
      },
    }),
  )
}

function mailOf(system: System, failure: Failure): string {
  const head = [
    'Return-Path: <>',
    `From: ${system.from}`,
    'To: news@sender.example.com',
    `Subject: ${system.subject}`,
    'Date: Mon, 02 Jun 2025 10:00:00 +0000',
    'Message-ID: <bounce.7@mx.example.net>',
    'MIME-Version: 1.0',
    ...(system.head ?? []),
  ]
  const notice = system.notice(failure, HOST)
  const inText = system.original === 'in the text' ? [...(system.separator ?? []), '', ...ORIGINAL] : []
  const type = `Content-Type: text/${system.isHtml === true ? 'html' : 'plain'}; charset=utf-8`
  if (system.reports !== true && (system.original === 'in the text' || system.original === 'not'))
    return [...head, type, 'Content-Transfer-Encoding: 8bit', '', ...notice, ...inText].join('\r\n')
  const kind = system.reports === true ? 'multipart/report; report-type=delivery-status' : 'multipart/mixed'
  return [
    ...head,
    `Content-Type: ${kind}; boundary="=_b7"`,
    '',
    'This is a MIME-encapsulated message.',
    '',
    '--=_b7',
    type,
    '',
    ...notice,
    ...inText,
    '',
    ...(system.reports === true ? ['--=_b7', 'Content-Type: message/delivery-status', '', ...reportOf(failure), ''] : []),
    ...(system.original === 'a part' ? ['--=_b7', 'Content-Type: message/rfc822', '', ...ORIGINAL] : []),
    ...(system.original === 'headers' ? ['--=_b7', 'Content-Type: text/rfc822-headers', '', ...HEADERS, ''] : []),
    '--=_b7--',
    '',
  ].join('\r\n')
}

function reportOf({ failed, isDelayed }: Failure): string[] {
  return [
    `Reporting-MTA: dns; ${HOST}`,
    'Arrival-Date: Mon, 02 Jun 2025 09:59:00 +0000',
    ...failed.flatMap(({ address, reply, status }) => [
      '',
      `Final-Recipient: rfc822; ${address}`,
      `Action: ${isDelayed ? 'delayed' : 'failed'}`,
      `Status: ${status}`,
      `Diagnostic-Code: smtp; ${reply}`,
    ]),
  ]
}
