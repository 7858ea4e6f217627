/** Bounce mails as mail systems write them, for tests. */

export interface AttemptReport {
  readonly recipient: string
  readonly originalRecipient?: string
  readonly action?: string
  readonly status?: string
  readonly diagnostic?: string
  readonly remoteMta?: string
  readonly lastAttempt?: string
  readonly willRetryUntil?: string
}

export interface Around {
  readonly from?: string
  readonly date?: string
  readonly reportingMta?: string
  /** Fields above the rest. */
  readonly top?: readonly string[]
  readonly more?: readonly AttemptReport[]
  /** The last part, with its head. */
  readonly original?: string
  readonly postfix?: boolean
}

const lines = (...parts: (string | false | undefined)[]): string => parts.filter((p): p is string => typeof p === 'string').join('\r\n')

/** A delivery status notification (RFC 3464). */
export function report(about: AttemptReport, around: Around = {}): Buffer {
  const group = (r: AttemptReport) =>
    lines(
      `Final-Recipient: rfc822; ${r.recipient}`,
      r.originalRecipient !== undefined && `Original-Recipient: rfc822;${r.originalRecipient}`,
      `Action: ${r.action ?? 'failed'}`,
      r.status !== '' && `Status: ${r.status ?? '4.3.2'}`,
      `Remote-MTA: dns; ${r.remoteMta ?? 'mx.example.org'}`,
      r.diagnostic !== '' && `Diagnostic-Code: smtp; ${r.diagnostic ?? '421 4.3.2 System not accepting network messages'}`,
      r.lastAttempt !== undefined && `Last-Attempt-Date: ${r.lastAttempt}`,
      r.willRetryUntil !== undefined && `Will-Retry-Until: ${r.willRetryUntil}`,
    )
  const { postfix, ...rest } = around
  const fromPostfix = ['X-Postfix-Queue-ID: 18987984102', 'X-Postfix-Sender: rfc822; bounces@example.com']
  return reportOf([about, ...(around.more ?? [])].map(group).join('\r\n\r\n'), { ...(postfix ? { ofMessage: fromPostfix } : {}), ...rest })
}

/** A delivery status notification with these literal per-recipient fields. */
export function reportOf(
  recipients: string,
  around: Omit<Around, 'more' | 'postfix'> & { readonly ofMessage?: readonly string[] },
): Buffer {
  return Buffer.from(
    lines(
      ...(around.top ?? []),
      `From: ${around.from ?? 'MAILER-DAEMON@mail.example.net'}`,
      `Date: ${around.date ?? new Date().toUTCString()}`,
      'Subject: Undelivered Mail Returned to Sender',
      'MIME-Version: 1.0',
      'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
      '',
      '--b',
      'Content-Type: text/plain',
      '',
      'Sorry.',
      '--b',
      'Content-Type: message/delivery-status',
      '',
      `Reporting-MTA: dns; ${around.reportingMta ?? 'mail.example.net'}`,
      ...(around.ofMessage ?? []),
      '',
      recipients,
      '',
      ...(around.original === undefined ? [] : ['--b', around.original]),
      '--b--',
      '',
    ),
  )
}

/** A notice as qmail writes it. */
export const qmailNotice = (recipient: string, reply: string): Buffer =>
  Buffer.from(
    lines(
      'From: MAILER-DAEMON@mx.example.net',
      'Subject: failure notice',
      '',
      'Hi. This is the qmail-send program at mx.example.net.',
      "I'm afraid I wasn't able to deliver your message to the following addresses.",
      "This is a permanent error; I've given up. Sorry it didn't work out.",
      '',
      `<${recipient}>:`,
      `192.0.2.7 does not like recipient.`,
      `Remote host said: ${reply}`,
      'Giving up on 192.0.2.7.',
      '',
      '--- Below this line is a copy of the message.',
      '',
      'Message-ID: <anything@example.com>',
      'Subject: Hello',
      '',
      'Hello',
    ),
  )

/** A feedback report (RFC 5965) about a message that had this return path. */
export const complaint = (returnPath: string, type = 'abuse'): Buffer =>
  Buffer.from(
    lines(
      'From: feedback@provider.example',
      'Subject: FW: Hello',
      'MIME-Version: 1.0',
      'Content-Type: multipart/report; report-type=feedback-report; boundary="c"',
      '',
      '--c',
      'Content-Type: text/plain',
      '',
      'This is an email abuse report.',
      '--c',
      'Content-Type: message/feedback-report',
      '',
      `Feedback-Type: ${type}`,
      'User-Agent: SomeGenerator/1.0',
      'Version: 1',
      '',
      '--c',
      'Content-Type: message/rfc822',
      '',
      `Return-Path: <${returnPath}>`,
      'Message-ID: <anything@example.com>',
      'To: somebody@provider.example',
      '',
      'Hello',
      '--c--',
      '',
    ),
  )
