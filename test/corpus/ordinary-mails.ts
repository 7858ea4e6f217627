/** Mails that are no bounces: ordinary ones, and ones in which people, tickets and newsletters talk about failed deliveries. */

export interface OrdinaryMail {
  readonly name: string
  readonly mail: string
}

const PEOPLE = [
  ['Ann Lee', 'ann@customer.example.org'],
  ['Ben Müller', 'ben.mueller@firm.example'],
  ['Postmaster Carla', 'postmaster@small.example'],
  ['Dora Admin', 'admin@school.example'],
  ['Emil', 'emil@mail-delivery.example'],
] as const

const mail = (from: string, subject: string, head: readonly string[], body: readonly string[]): string =>
  [
    ...(head.some((line) => line.startsWith('Return-Path:')) ? [] : [`Return-Path: <${/<([^>]*)>/.exec(from)?.[1] ?? from}>`]),
    'Received: from out.example.org (out.example.org [192.0.2.44]) by mx.example.com with ESMTPS id 7; Mon, 02 Jun 2025 10:00:00 +0000',
    `From: ${from}`,
    'To: support@shop.example.com',
    `Subject: ${subject}`,
    'Date: Mon, 02 Jun 2025 10:00:00 +0000',
    'Message-ID: <p1@customer.example.org>',
    'MIME-Version: 1.0',
    ...head,
    ...(head.some((line) => /^content-type:/i.test(line)) ? [] : ['Content-Type: text/plain; charset=utf-8']),
    '',
    ...body,
    '',
  ].join('\r\n')

/** What people write when a delivery failed. */
const TALK: readonly (readonly [string, readonly string[]])[] = [
  [
    'my order',
    ['my parcel was not delivered to our flat again. Please write to my husband:', '', 'ben@customer.example.org', '', 'Many thanks'],
  ],
  [
    'mail to Dora',
    [
      'Our admin says that mail could not be delivered to: dora@customer.example.org',
      'because her box was full last week. It works again.',
    ],
  ],
  [
    'bounced?',
    [
      'I tried to write to you, and my mail was returned: 550 5.1.1 user unknown.',
      'Which address is right? I used sales@shop.example.com.',
    ],
  ],
  ['Undeliverable', ['your newsletter is undeliverable to me, please use my new address:', '', 'ann.new@customer.example.org']],
  [
    'delivery failed',
    ['The following address failed:', '', '  clara@customer.example.org', '', 'Can you look at your log? It said 421 4.3.2 at noon.'],
  ],
  ['Returned mail', ['Does "User unknown" mean that bob@partner.example has left?', 'The message was rejected with 554 5.7.1.']],
  [
    'Zustellung',
    [
      'Ihre Nachricht an dora@firma.example konnte nicht zugestellt werden, sagt unser System.',
      'Bitte nehmen Sie ab sofort die neue Adresse:',
      'dora.neu@firma.example',
    ],
  ],
  ['Non remis', ["Votre message n'a pas pu être remis à paul@client.example, son adresse a changé :", '', 'paul.martin@client.example']],
  ['full mailbox', ["Clara's mailbox is full: <clara@customer.example.org>", 'She asks you to send the invoice again next week.']],
  [
    'Re: failure notice',
    ['That failure notice was our fault. The account of dan@customer.example.org is disabled', 'until Monday, then it works again.'],
  ],
  ['delay', ['mail to eve@partner.example was delayed for four hours, and you do not need to resend it.', 'It has arrived by now.']],
  [
    'test results',
    [
      'recipient: frank@partner.example',
      'error: 550 mailbox unavailable',
      'recipient: gina@partner.example',
      'error: none',
      'This is what our tool says.',
    ],
  ],
]

/** A bounce that somebody forwards or quotes, with words of his own. */
const QUOTED = [
  '-------- Forwarded Message --------',
  'Subject: Undelivered Mail Returned to Sender',
  'Date: Mon, 02 Jun 2025 09:00:00 +0000',
  'From: Mail Delivery System <MAILER-DAEMON@mx.example.net>',
  'To: ann@customer.example.org',
  '',
  'This is the mail system at host mx.example.net.',
  '',
  '<kim@partner.example>: host mx.partner.example[192.0.2.7] said: 550 5.1.1 User unknown',
  '',
  'Final-Recipient: rfc822; kim@partner.example',
  'Action: failed',
  'Status: 5.1.1',
]
const quoted = QUOTED.map((line) => `> ${line}`)
const BOUNCE = [
  'Return-Path: <>',
  'From: MAILER-DAEMON@mx.example.net',
  'To: ann@customer.example.org',
  'Subject: Undelivered Mail',
  'MIME-Version: 1.0',
  'Content-Type: multipart/report; report-type=delivery-status; boundary=in',
  '',
  '--in',
  'Content-Type: message/delivery-status',
  '',
  'Reporting-MTA: dns; mx.example.net',
  '',
  'Final-Recipient: rfc822; kim@partner.example',
  'Action: failed',
  'Status: 5.1.1',
  '--in--',
]
const attached = (comment: string) => [
  '--out',
  'Content-Type: text/plain',
  '',
  comment,
  '--out',
  'Content-Type: message/rfc822',
  '',
  ...BOUNCE,
  '--out--',
]

/** At least a hundred mails in which people talk about delivery. */
export function mailsAboutDelivery(): OrdinaryMail[] {
  const found: OrdinaryMail[] = []
  for (const [name, address] of PEOPLE) {
    const from = `${name} <${address}>`
    for (const [subject, body] of TALK) {
      found.push({ name: `${address}: ${subject}`, mail: mail(from, subject, [], ['Good morning,', '', ...body, '', name]) })
      found.push({
        name: `${address}: ${subject}, an answer`,
        mail: mail(from, `Re: ${subject}`, ['In-Reply-To: <x@shop.example.com>'], [...body, '', '> You wrote:', ...quoted]),
      })
    }
    found.push({ name: `${address}: forwards`, mail: mail(from, 'Fwd: Undelivered Mail', [], ['What does this mean?', '', ...QUOTED]) })
    found.push({ name: `${address}: quotes`, mail: mail(from, 'Fwd: Undelivered Mail', [], ['What does this mean?', '', ...quoted]) })
    const type = ['Content-Type: multipart/mixed; boundary=out']
    found.push({ name: `${address}: attaches`, mail: mail(from, 'Fwd: Undelivered Mail', type, attached('Please look at this bounce.')) })
  }
  return found
}

/** Applications that write by themselves: none of these is about a message of ours. */
const APPLICATIONS: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
  [
    'Shop <news@shop.example>',
    'Why mails bounce',
    ['List-Unsubscribe: <https://shop.example/u>', 'Precedence: bulk'],
    ['550 5.1.1 means that the user is unknown.', 'Write to <help@shop.example>.'],
  ],
  [
    'No Reply <noreply@tracker.example>',
    '[#4711] mail to ann@customer.example.org failed',
    ['Auto-Submitted: auto-generated'],
    ['A ticket was opened:', '', ...quoted, '', 'Answer above this line.'],
  ],
  [
    'Help desk <support@desk.example>',
    '[#12] We have your message',
    ['Auto-Submitted: auto-replied'],
    ['We have received your message:', '', 'My mail to kim@partner.example was rejected: 550 5.1.1'],
  ],
  [
    'Ann <ann@customer.example.org>',
    'Automatic reply: News',
    ['Return-Path: <>', 'Auto-Submitted: auto-replied'],
    ['I am away. If it is urgent, write to ben@customer.example.org.'],
  ],
  [
    'Ann <ann@customer.example.org>',
    'Out of office',
    ['Return-Path: <>', 'X-Autoreply: yes'],
    ['I cannot be reached until Monday. My deputy: ben@customer.example.org'],
  ],
  [
    'Cron Daemon <root@host.example>',
    'Cron <root@host> backup',
    ['Auto-Submitted: auto-generated'],
    ['error: backup of ann@customer.example.org failed'],
  ],
  [
    'List <list-owner@lists.example>',
    'Your digest',
    ['List-Id: <list.lists.example>', 'List-Unsubscribe: <mailto:leave@lists.example>'],
    ['Message 1: mail to kim@partner.example was rejected', '', ...QUOTED],
  ],
  [
    'Alerts <notifications@monitor.example>',
    'SMTP check failed',
    ['Auto-Submitted: auto-generated'],
    ['host mx.example.org answered 421 4.3.2', 'contact: oncall@monitor.example'],
  ],
  [
    'Calendar <noreply@calendar.example>',
    'Invitation: review of failed deliveries',
    [],
    ['Guests: ann@customer.example.org, ben@firm.example'],
  ],
  [
    'Postmaster <postmaster@firm.example>',
    'Maintenance on Sunday',
    [],
    ['Our mail system is not available on Sunday. Write to admin@firm.example.'],
  ],
]
const SUBJECTS = [
  'Invoice 4711',
  'Lunch?',
  'Minutes of the meeting',
  'Your order has shipped',
  'Question about the API',
  'Photos',
  'New price list',
  'Angebot',
  'Bonjour',
]
const BODIES: readonly (readonly string[])[] = [
  ['please find the invoice attached. Questions to: billing@shop.example', 'Regards'],
  ['shall we meet at one? Bring clara@firm.example along.'],
  ['1. The new server is not reachable from outside.', '2. Kim (kim@partner.example) will look at it.', '3. Next meeting on Friday.'],
  ['your parcel was handed over to the carrier. It could not be tracked yet.', 'Contact: help@carrier.example'],
  ['the API says error 550 for user dan@example.org, is that right?', '', 'Dan'],
  ['here they are. Grandma could not open the last ones.'],
  ['anbei unser Angebot. Rückfragen an einkauf@firma.example'],
]

/** At least three hundred ordinary mails. */
export function ordinaryMails(): OrdinaryMail[] {
  const found: OrdinaryMail[] = APPLICATIONS.map(([from, subject, head, body]) => ({
    name: subject,
    mail: mail(from, subject, head, body),
  }))
  for (const [name, address] of PEOPLE)
    for (const subject of SUBJECTS)
      for (const [i, body] of BODIES.entries())
        found.push({
          name: `${address}: ${subject} ${i}`,
          mail: mail(`${name} <${address}>`, subject, [], ['Hello,', '', ...body, '', name]),
        })
  return found
}
