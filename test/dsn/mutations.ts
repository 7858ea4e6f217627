/**
 * Changes a bounce in ways that must not matter to its reading: another opening sentence, another separator, indentation, order of parts,
 * line ends, charset, subject, a disclaimer. What still reads the same was read by its language, not by its file.
 */

export type Mutation = (mail: string) => string | null

/** Splits a mail into its header and its body. */
function parted(mail: string): { readonly head: string; readonly body: string } | null {
  const end = mail.indexOf('\n\n')
  return end < 0 ? null : { head: mail.slice(0, end), body: mail.slice(end + 2) }
}

const isMultipart = (head: string): boolean => /^content-type:\s*multipart\//im.test(head)
/** Encoded text cannot be changed line by line; signed or binary mails are left alone. */
const isPlain = ({ head, body }: { head: string; body: string }): boolean =>
  !/^content-transfer-encoding:\s*(?:base64|quoted-printable)/im.test(head) &&
  !/^content-transfer-encoding:\s*(?:base64|quoted-printable)/im.test(body)

/** Puts lines before the first line of the notice: behind the header of the first text part. */
function beforeNotice(mail: string, lines: readonly string[]): string | null {
  const at = parted(mail)
  if (at === null || !isPlain(at)) return null
  if (!isMultipart(at.head)) return `${at.head}\n\n${lines.join('\n')}\n${at.body}`
  const text = /(^|\n)(--[^\n]*\ncontent-type:\s*text\/plain(?:[^\n]|\n(?!\n))*\n\n)/i.exec(at.body)
  if (text === null) return null
  const end = text.index + text[0].length
  return `${at.head}\n\n${at.body.slice(0, end)}${lines.join('\n')}\n${at.body.slice(end)}`
}

const SEPARATOR =
  /^[ \t]*[-=_*]{2,}[^\n]*(?:original|returned|copy of|below this line|message follows|header|unsent)[^\n]*$|^(?:original message follows\.|original message:)$/im

export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'an opening sentence': (mail) =>
    beforeNotice(mail, ['Dear customer,', 'something went wrong with a message of yours. The details are below.', '']),
  'a German opening sentence': (mail) =>
    beforeNotice(mail, ['Guten Tag,', 'leider gab es ein Problem. Einzelheiten finden Sie unten.', '']),
  'another separator': (mail) => {
    const at = parted(mail)
    return at === null || !isPlain(at) || !SEPARATOR.test(at.body)
      ? null
      : `${at.head}\n\n${at.body.replace(SEPARATOR, '======== your message, as we received it ========')}`
  },
  'a separator in another language': (mail) => {
    const at = parted(mail)
    return at === null || !isPlain(at) || !SEPARATOR.test(at.body)
      ? null
      : `${at.head}\n\n${at.body.replace(SEPARATOR, '---- Ursprüngliche Nachricht ----')}`
  },
  'CR LF': (mail) => mail.replaceAll('\n', '\r\n'),
  'bare CR': (mail) => mail.replaceAll('\n', '\r'),
  'CR CR LF': (mail) => mail.replaceAll('\n', '\r\r\n'),
  'another subject': (mail) =>
    /^subject:[^\n]*@/im.test(mail) ? null : mail.replace(/^subject:[^\n]*(?:\n[ \t][^\n]*)*/im, 'Subject: Nachricht 4711'),
  'a Japanese subject': (mail) =>
    /^subject:[^\n]*@/im.test(mail) ? null : mail.replace(/^subject:[^\n]*(?:\n[ \t][^\n]*)*/im, 'Subject: =?utf-8?B?6YWN5L+h5LiN6IO9?='),
  'a disclaimer at the top': (mail) =>
    beforeNotice(mail, [
      'CAUTION: This message came from outside of the organization.',
      'Do not open attachments unless you know the sender.',
      '',
    ]),
  'another charset': (mail) =>
    /iso-2022|shift|euc|gb|big5|koi8|utf-16|[^\n\t -~]/i.test(mail)
      ? null
      : mail.replace(/charset="?(?:us-ascii|utf-8|iso-8859-1)"?/gi, 'charset=windows-1252'),
  'more header fields': (mail) =>
    `Received: from a.example by b.example; Mon, 02 Jun 2025 10:00:01 +0000\nX-Spam-Score: 0.1\nX-Scanned-By: scanner at b.example\n${mail}`,
  'the report before the notice': (mail) => {
    const lines = mail.split('\n')
    const marks = lines.flatMap((line, i) => (/^--\S/.test(line) ? [i] : []))
    const text = marks.find((i) => /^content-type:\s*text\/plain/i.test(lines[i + 1] ?? ''))
    const report = marks.find((i) => /^content-type:\s*message\/delivery-status/i.test(lines[i + 1] ?? ''))
    const end = marks.find((i) => report !== undefined && i > report)
    if (text === undefined || report === undefined || end === undefined || text > report) return null
    return [...lines.slice(0, text), ...lines.slice(report, end), ...lines.slice(text, report), ...lines.slice(end)].join('\n')
  },
  'another first paragraph': (mail) => {
    const at = noticeAt(mail)
    if (at === null) return null
    const first = at.notice.trimStart().split('\n\n', 1)[0] as string
    if (first.length === at.notice.trim().length || MATTERS.test(first)) return null
    return at.with(at.notice.replace(first, 'Die folgende Nachricht betrifft Ihre Sendung.'))
  },
  'the notice indented': (mail) => {
    const at = noticeAt(mail)
    return at === null ? null : at.with(at.notice.replace(/^(?=\S)/gm, '  '))
  },
  'the notice without indentation': (mail) => {
    const at = noticeAt(mail)
    return at === null || /^[ \t]+(?:>>>|<<<)|^[ \t]+(?:to|from|subject|date|sent):/im.test(at.notice)
      ? null
      : at.with(at.notice.replace(/^[ \t]+/gm, ''))
  },
  'a disclaimer with an address at the end': (mail) => {
    const at = noticeAt(mail)
    return at === null
      ? null
      : at.with(`${at.notice.trimEnd()}\n\nThis message is confidential. Questions? Contact help@firm.example or call us.\n\n`)
  },
}

/** Words of a first paragraph that do matter: a code, an address, a delay, a reason. */
const MATTERS =
  /@|\d\d\d|delay|warning|retr|not yet|expired|giv|full|quota|unknown|aborted|transcript|undeliverable|transient|trying|time|reason|resend|server|host|connect|address|mailbox|user/i

/** The notice of a mail that says no more than text: what stands above its separator. */
function noticeAt(mail: string): { readonly notice: string; readonly with: (notice: string) => string } | null {
  const at = parted(mail)
  if (at === null || !isPlain(at) || isMultipart(at.head)) return null
  const separator = SEPARATOR.exec(at.body)
  const end = separator?.index ?? (/^(?:received|return-path|message-id):/im.test(at.body) ? -1 : at.body.length)
  if (end <= 0) return null
  return { notice: at.body.slice(0, end), with: (notice) => `${at.head}\n\n${notice}${at.body.slice(end)}` }
}
