/** Bounces without a DSN (RFC 3464): notices in free text. */
import { expect, test } from 'vitest'
import { parseReport } from '../../src/dsn/index.js'

const ORIGINAL = [
  'Return-Path: <news@example.com>',
  'Received: by mail.example.com; Tue, 24 Nov 2026 08:00:00 +0000',
  'Message-ID: <m7@example.com>',
  'To: ann@example.org',
  'Subject: Hello',
  '',
  'Hello',
]
const mail = (body: readonly string[], head: readonly string[] = []) =>
  Buffer.from(
    [
      'From: Mail Delivery System <MAILER-DAEMON@mx.example.net>',
      'Subject: failure notice',
      'Date: Tue, 24 Nov 2026 09:00:00 +0000',
      ...head,
      '',
      ...body,
    ].join('\r\n'),
  )
const whole = { messageId: 'm7@example.com', sender: 'news@example.com', returned: 'headers' }

test.each<[string, Buffer, object[], object]>([
  [
    'qmail, a reply',
    mail([
      'Hi. This is the qmail-send program at mx.example.net.',
      "I'm afraid I wasn't able to deliver your message to the following addresses.",
      '',
      '<ann@example.org>:',
      '192.0.2.7 does not like recipient.',
      'Remote host said: 421 4.3.2 Not now',
      'Giving up on 192.0.2.7.',
      '',
      '<bob@example.org>:',
      'Sorry, no mailbox here by that name. (#5.1.1)',
      '',
      '--- Below this line is a copy of the message.',
      '',
      ...ORIGINAL,
    ]),
    [
      { recipient: 'ann@example.org', action: 'failed', status: '4.3.2', statusFrom: 'enhanced code', replyCode: 421 },
      { recipient: 'bob@example.org', status: '5.1.1', statusFrom: 'enhanced code' },
    ],
    { ...whole, reportingMta: 'mx.example.net' },
  ],
  [
    'Postfix without its report, folded',
    mail([
      'This is the mail system at host mx.example.net.',
      '',
      "I'm sorry to have to inform you that your message could not",
      'be delivered to one or more recipients.',
      '',
      '<ann@example.org>: host mx1.example.org[192.0.2.1] said: 450 4.2.1',
      '    <ann@example.org>: mailbox busy (in reply to RCPT TO command)',
      '',
    ]),
    [
      {
        recipient: 'ann@example.org',
        status: '4.2.1',
        replyCode: 450,
        remoteMta: 'mx1.example.org',
        diagnostic: 'host mx1.example.org[192.0.2.1] said: 450 4.2.1 <ann@example.org>: mailbox busy (in reply to RCPT TO command)',
      },
    ],
    { returned: 'none' },
  ],
  [
    'Exim, several recipients, one forwarded',
    mail([
      'This message was created automatically by mail delivery software.',
      '',
      'A message that you sent could not be delivered to one or more of its',
      'recipients. This is a permanent error. The following address(es) failed:',
      '',
      '  ann@example.org',
      '    SMTP error from remote mail server after RCPT TO:<ann@example.org>:',
      '    host mx1.example.org [192.0.2.1]: 550 5.1.1 <ann@example.org>... User Unknown',
      '  target@elsewhere.example',
      '    (generated from bob@example.org)',
      '    retry timeout exceeded',
      '',
      '------ This is a copy of the message, including all the headers. ------',
      '',
      ...ORIGINAL,
    ]),
    [
      { recipient: 'ann@example.org', status: '5.1.1', replyCode: 550, remoteMta: 'mx1.example.org' },
      { recipient: 'target@elsewhere.example', originalRecipient: 'bob@example.org', status: '5.4.7', statusFrom: 'text' },
    ],
    whole,
  ],
  [
    'Exim, still trying',
    mail([
      'This message was created automatically by mail delivery software.',
      'A message that you sent has not yet been delivered to one or more of its',
      'recipients after more than 24 hours on the queue on mx.example.net.',
      '',
      'The address to which the message has not yet been delivered is:',
      '',
      '  ann@example.org',
      '    Delay reason: connection timed out',
      '',
      'No action is required on your part. Delivery attempts will continue for',
      'some time.',
    ]),
    [{ recipient: 'ann@example.org', action: 'delayed', status: '4.4.1', statusFrom: 'text' }],
    {},
  ],
  [
    'Gmail',
    mail(
      [
        'Delivery to the following recipient failed permanently:',
        '',
        '     ann@example.org',
        '',
        'Technical details of permanent failure: ',
        'Google tried to deliver your message, but it was rejected by the server for the recipient domain example.org by mx.example.org. [192.0.2.1].',
        '',
        'The error that the other server returned was:',
        '421 4.3.2 System not accepting network messages',
        '',
        '----- Original message -----',
        '',
        ...ORIGINAL,
      ],
      ['X-Failed-Recipients: ann@example.org'],
    ),
    [{ recipient: 'ann@example.org', status: '4.3.2', replyCode: 421 }],
    whole,
  ],
  [
    'Sendmail’s transcript',
    mail([
      'The original message was received at Tue, 24 Nov 2026 08:00:00 GMT',
      '',
      '   ----- The following addresses had permanent fatal errors -----',
      '<ann@example.org>',
      '    (reason: 550 5.1.1 <ann@example.org>... User unknown)',
      '',
      '   ----- Transcript of session follows -----',
      '... while talking to mx.example.org.:',
      '>>> DATA',
      '<<< 550 5.1.1 <ann@example.org>... User unknown',
      '550 5.1.1 <ann@example.org>... User unknown',
    ]),
    [{ recipient: 'ann@example.org', status: '5.1.1', replyCode: 550, diagnostic: '550 5.1.1 <ann@example.org>... User unknown' }],
    {},
  ],
  [
    'Sendmail before version 8',
    mail([
      '   ----- Transcript of session follows -----',
      'While talking to mx.example.org:',
      '>>> RCPT To:<ann@example.org>',
      '<<< 421 not now',
      '421 <ann@example.org>... Deferred',
      '',
      '   ----- Unsent message follows -----',
      ...ORIGINAL,
    ]),
    [{ recipient: 'ann@example.org', status: '4.3.2', statusFrom: 'basic code', replyCode: 421, remoteMta: 'mx.example.org' }],
    whole,
  ],
  [
    'DragonFly',
    mail([
      'This is the DragonFly Mail Agent v0.13 at mx.example.net.',
      '',
      'There was an error delivering your mail to <ann@example.org>.',
      '',
      'mx.example.org [192.0.2.1] did not like our RCPT TO:',
      '452 4.3.2 Connection rate limit exceeded',
      '',
      'Message headers follow.',
      '',
      ...ORIGINAL,
    ]),
    [{ recipient: 'ann@example.org', status: '4.3.2', replyCode: 452 }],
    { ...whole, reportingMta: 'mx.example.net' },
  ],
  [
    'Exchange',
    mail([
      'Your message',
      '',
      '  To:      ann@example.org',
      '  Subject: Hello',
      '',
      'did not reach the following recipient(s):',
      '',
      'ann@example.org on Tue, 24 Nov 2026 08:00:00 -0000',
      '    The recipient name is not recognized',
      '    MSEXCH:IMS:EXAMPLE:ORG 0 (000C05A6) Unknown Recipient',
    ]),
    [{ recipient: 'ann@example.org', status: '5.1.1', statusFrom: 'text' }],
    {},
  ],
  [
    'the fields of a report in the text',
    mail([
      'An error occurred while trying to deliver the mail to the following recipients:',
      'ann@example.org',
      '',
      'Reporting-MTA: dns; mx.example.net',
      '',
      'Action: failed',
      'Final-Recipient: rfc822; ann@example.org',
      'Diagnostic-Code: smtp; 421 4.3.2 Not now',
      'Status: 4.3.2',
    ]),
    [{ recipient: 'ann@example.org', status: '4.3.2', statusFrom: 'field' }],
    { reportingMta: 'mx.example.net' },
  ],
  [
    'a report that somebody forwarded',
    mail([
      'Look at this.',
      '',
      '> Final-Recipient: RFC822; ann@example.org',
      '> Action: failed',
      '> Status: 5.1.1',
      '> Diagnostic-Code: SMTP; 550 5.1.1 no',
    ]),
    [{ recipient: 'ann@example.org', status: '5.1.1' }],
    {},
  ],
])('%s', async (_, bytes, recipients, more) => {
  const read = await parseReport(bytes)
  expect(read).toMatchObject({ kind: 'bounce', ...more })
  expect(read?.recipients).toHaveLength(recipients.length)
  expect(read?.recipients).toMatchObject(recipients)
})

test('a delay stays a delay; only OpenSMTPD\'s "Envelope expired" is a failure', async () => {
  const delayed = [
    'Reporting-MTA: dns; mx',
    '',
    'Final-Recipient: rfc822; ann@example.org',
    'Action: delayed',
    'Status: 4.4.7',
    'Will-Retry-Until: Fri, 27 Nov 2026 08:00:00 +0000',
  ]
  expect((await parseReport(mail(delayed)))?.recipients[0]).toMatchObject({ action: 'delayed', status: '4.4.7' })
  const text = [
    '    A message is delayed for more than 0 seconds for the following',
    '    list of recipients:',
    '',
    'ann@example.org: Envelope expired',
    '',
  ]
  const parts = [
    '--b',
    'Content-Type: text/plain',
    '',
    ...text,
    '--b',
    'Content-Type: message/delivery-status',
    '',
    ...delayed.slice(0, 5),
    '',
    '--b--',
  ]
  const read = await parseReport(mail(parts, ['MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b']))
  expect(read?.recipients[0]).toMatchObject({ action: 'failed', status: '4.4.7' })
})

test.each([
  [
    'a letter',
    mail(['Dear shop, the address ann@example.org could not be found in your system.'], [])
      .toString()
      .replace('MAILER-DAEMON@mx.example.net', 'ann@example.org')
      .replace('failure notice', 'question'),
  ],
  ['a list of addresses', 'From: a@example.org\r\nSubject: new people\r\n\r\nann@example.org\r\nbob@example.org\r\n'],
  [
    'a verification that succeeded',
    mail([
      'This is the mail system at host mx.example.net.',
      '',
      'Enclosed is the mail delivery report that you requested.',
      '',
      '<ann@example.org>: delivery via mx.example.org[192.0.2.1]:25: 250 2.1.5 Ok',
    ]).toString(),
  ],
])('%s is not a bounce', async (_, text) => {
  expect((await parseReport(Buffer.from(text)))?.recipients ?? []).toEqual([])
})

test('an automatic reply is distinguished from a bounce', async () => {
  for (const head of ['Auto-Submitted: auto-replied', 'X-Autoreply: yes', 'Precedence: auto_reply'])
    expect(
      await parseReport(Buffer.from(`From: Ann <ann@example.org>\r\n${head}\r\nSubject: away\r\n\r\nI am away; ask bob@example.org.`)),
    ).toMatchObject({ kind: 'automatic answer', recipients: [] })
  // Postfix marks its bounces as auto-replied, too (RFC 3834 3.1.7)
  expect(
    await parseReport(
      mail(
        ['This is the mail system at host x.', '<ann@example.org>: 550 5.1.1 no', 'could not be delivered'],
        ['Auto-Submitted: auto-replied'],
      ),
    ),
  ).toMatchObject({ kind: 'bounce' })
})

test('the more specific of Status field and reply wins, and both are kept', async () => {
  const fields = async (status: string, code: string) => {
    const text = [
      'Reporting-MTA: dns; mx',
      '',
      'Final-Recipient: rfc822; ann@example.org',
      'Action: failed',
      `Status: ${status}`,
      `Diagnostic-Code: smtp; ${code}`,
    ]
    return (await parseReport(mail(text)))?.recipients[0]
  }
  expect(await fields('5.0.0', '421 4.3.2 System not accepting network messages')).toMatchObject({
    status: '4.3.2',
    statusFrom: 'enhanced code',
    statusField: '5.0.0',
    replyCode: 421,
  })
  expect(await fields('4.4.1', '421 x')).toMatchObject({ status: '4.4.1', statusFrom: 'field' })
  expect(await fields('4.4.1', '421 4.3.2 x')).toMatchObject({ status: '4.3.2', statusFrom: 'enhanced code' })
  expect(await fields('4.4.7', '554 4.4.7 Message expired.<421 4.4.2 Connection timed out>')).toMatchObject({
    status: '4.4.2',
    statusFrom: 'enhanced code',
  })
  expect(await fields('4.3.2', '550 5.3.2 gone')).toMatchObject({ status: '5.3.2', statusFrom: 'enhanced code' })
  expect(await fields('4.0.0', '453 System not accepting network messages')).toMatchObject({ status: '4.3.2', statusFrom: 'basic code' })
  expect(await fields('5.2.1 (disabled)', '550 no such user')).toMatchObject({
    status: '5.2.1',
    statusFrom: 'field',
    statusField: '5.2.1 (disabled)',
  })
  expect(await fields('5.0.0', '550 host [192.0.2.1] says 5.7.25.1 no')).toMatchObject({ status: '5.0.0', replyCode: 550 })
})

const from = (subject: string, body: readonly string[], type = 'text/plain') =>
  Buffer.from(['From: MAILER-DAEMON@mx.example.net', `Subject: ${subject}`, `Content-Type: ${type}; charset=utf-8`, '', ...body].join('\n'))

test.each<[string, Buffer, [string, string, string][]]>([
  [
    'an alias remark does not change the layout of a list',
    from('failure', [
      '<info@old.example> (expanded from <all@old.example>): unknown user: "info"',
      '',
      '<xy@far.example>: connect to mx.far.example[198.51.100.4]: Connection timed out',
    ]),
    [
      ['info@old.example', 'failed', '5.1.1'],
      ['xy@far.example', 'failed', '5.4.1'],
    ],
  ],
  [
    'below a file, the address that it belongs to is the recipient',
    from('failure', [
      'The following address(es) failed:',
      '',
      '  lost@gone.example',
      '    (ultimately generated from sales@h.example)',
      '    Unrouteable address',
      '  save to /home/q/mail',
      '    generated by quirin@h.example',
      '    mailbox is full: retry timeout exceeded',
    ]),
    [
      ['lost@gone.example', 'failed', '5.4.4'],
      ['quirin@h.example', 'failed', '5.2.2'],
    ],
  ],
  [
    'a quoted local part',
    from('failure', ['<cole@law.example>: 550 5.1.1 no', '', '<"o\'hara, pat"@law.example>: 552 5.2.2 full']),
    [
      ['cole@law.example', 'failed', '5.1.1'],
      ['"o\'hara, pat"@law.example', 'failed', '5.2.2'],
    ],
  ],
  [
    'a table in a language that the reader does not know, and an address for questions',
    from(
      'x',
      ['<table><tr><th>Mottaker</th><td>ann@example.org</td></tr><tr><td>550 5.1.1</td></tr></table><p>Hjelp: help@mx.example.net</p>'],
      'text/html',
    ),
    [['ann@example.org', 'failed', '5.1.1']],
  ],
  [
    'a delay in French, with no code',
    from('Avertissement', [
      "Votre message n'a pas encore pu être remis au destinataire suivant après 4 heures :",
      '',
      '  luc@lent.example',
      '',
      'Les tentatives de remise se poursuivront pendant 5 jours.',
    ]),
    [['luc@lent.example', 'delayed', '4.0.0']],
  ],
  [
    'one reason above a list is that of all; words below it are not the reason of the last',
    from('failure', [
      'Could not be delivered because of',
      '',
      '550 5.1.1 User unknown',
      '',
      'The following recipients were affected:',
      '    nils@mm.example',
      '    olga@mm.example',
      '',
      'Additional Information',
    ]),
    [
      ['nils@mm.example', 'failed', '5.1.1'],
      ['olga@mm.example', 'failed', '5.1.1'],
    ],
  ],
  [
    'recipients listed as delivered are none that failed',
    from('Delivery problems', [
      'Recipients delivered OK:',
      '   yoko@dest.example',
      '',
      'Recipients that failed:',
      '   alan@dest.example   5.2.1 mailbox disabled',
    ]),
    [['alan@dest.example', 'failed', '5.2.1']],
  ],
  [
    'a list with and without reasons on its lines',
    from('failure', ['Not delivered:', '  paul@x.example', '  quirin@x.example (connection refused)']),
    [
      ['paul@x.example', 'failed', '5.0.0'],
      ['quirin@x.example', 'failed', '5.4.1'],
    ],
  ],
  [
    'a user without a domain is not the list that the message went to',
    from('Undeliverable', [
      'Unknown user: tom',
      '',
      'Original message follows.',
      '',
      'Received: from a by b; Mon, 02 Jun 2025 10:00:00 +0000',
      'To: weekly@lists.example.com',
    ]),
    [],
  ],
  [
    'neither who is greeted, nor whom to ask, nor a Message-ID is the recipient',
    from('Undeliverable: <7.1@lists.example.com>', [
      'Dear anna@lists.example.com,',
      'Message <7.1@lists.example.com> from <anna@lists.example.com>',
      'to <xaver@dest.example> failed: 550 5.1.1 user unknown.',
      'Please contact instead wendy@dest.example.',
    ]),
    [['xaver@dest.example', 'failed', '5.1.1']],
  ],
  [
    'a fold that lost its space behind rfc822;',
    from('failure', ['Final-Recipient: rfc822;', 'cora@d.example', 'Action: failed', 'Status: 5.1.1']),
    [['cora@d.example', 'failed', '5.1.1']],
  ],
  [
    'a delay in German, by words alone',
    from('Nachricht verspätet', ['Ihre Nachricht an', '', '  udo@d.example', '', 'konnte seit 4 Stunden nicht zugestellt werden.']),
    [['udo@d.example', 'delayed', '4.0.0']],
  ],
  [
    'a reply below a list belongs to whom it names',
    from('failure', [
      'failed:',
      '  ann@c.example',
      '  ben@c.example',
      '',
      '550 5.1.1 <ann@c.example> no such user',
      '',
      '452 4.2.2 <ben@c.example> full',
    ]),
    [
      ['ann@c.example', 'failed', '5.1.1'],
      ['ben@c.example', 'failed', '4.2.2'],
    ],
  ],
  [
    'in a session, a recipient that was accepted did not fail, and a reply stays with its own',
    from('failure', ['>>> RCPT To:<good@x.example>', '<<< 250 ok', '>>> RCPT To:<bad@x.example>', '<<< 550 5.1.1 no such user']),
    [['bad@x.example', 'failed', '5.1.1']],
  ],
])('%s', async (_, bounce, expected) => {
  const report = await parseReport(bounce)
  expect((report?.recipients ?? []).map(({ recipient, action, status }) => [recipient, action, status])).toEqual(expected)
})

test('a vacation answer from the null sender is none, also if it speaks of problems', async () => {
  const mail = (body: string) => Buffer.from(`Return-Path: <>\nFrom: Ann <ann@example.org>\nSubject: Urlaub\n\n${body}\n`)
  const report = await parseReport(mail('Bei einem Problem bitte an:\n\nben@example.org'))
  expect(report?.recipients ?? []).toEqual([])
})

test.each([
  ['a warning of a full mailbox', 'From: MAILER-DAEMON@mx.example\nSubject: Warning\n\nYour mailbox is almost full: me.alias@mx.example\n'],
  [
    'a report of TLS',
    'From: MAILER-DAEMON@mx.example\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\n\n--b\n\ntls@mx.example\n--b--\n',
  ],
  ['a notice of success', 'From: MAILER-DAEMON@mx.example\nSubject: ok\n\nYour message was delivered to:\n\nben@x.example\n'],
  [
    'a deletion without being read',
    'From: b@x.example\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nIt was deleted without being read. The mailbox is full.\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;b@x.example\nDisposition: automatic-action/MDN-sent-automatically; deleted\n--b--\n',
  ],
])('%s is no bounce', async (_, mail) => {
  expect((await parseReport(Buffer.from(mail)))?.recipients ?? []).toEqual([])
})
