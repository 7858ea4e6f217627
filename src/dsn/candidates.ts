/** Collects the addresses that a notice names, with the way in which it names each. */

import type { Notice } from './notice.js'

/**
 * How a notice names an address: alone on its line, at its beginning (with a reason behind), behind a label (`Recipient: …`), as the
 * address that was forwarded (`generated from …`), in a sentence, or in a summary of the original (`To: …`).
 */
export type Form = 'alone' | 'line start' | 'labelled' | 'forwarded' | 'sentence' | 'summary'

/** An address in a notice. */
export interface Mention {
  readonly address: string
  /** Index of its line. */
  readonly line: number
  readonly form: Form
  /** How its line is laid out, without the address: lists repeat it. */
  readonly layout: string
  /** The text behind it, if it heads its line. */
  readonly textAfter: string
  /** True if the words before it say that it is the recipient. */
  readonly saysRecipient: boolean
  /** Why it cannot be the recipient, if the words around it say so. */
  readonly excludedBecause?: string
}

/** Mentions read of a notice. */
const MAX_MENTIONS = 2000
/** Characters before an address that show what it is. */
const MAX_BEFORE = 200

/** What ends an address, besides spaces: brackets and quotation marks of several languages. */
const ENDS = new Set('<>()[]:;,"\\@|「」『』（）“”‘’«»、。')
const MAX_LOCAL = 64
const MAX_DOMAIN = 253

/** The addresses of a notice, in order. */
export function mentionsIn(notice: Notice): Mention[] {
  const found: Mention[] = []
  for (const [line, text] of notice.lines.entries()) {
    if (!text.includes('@')) continue
    const seen = new Set<string>()
    for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
      const [begin, end] = around(text, at)
      const cut = cleaned(text.slice(begin, at), text.slice(at + 1, end))
      if (cut === null || seen.has(cut.address.toLowerCase())) continue
      seen.add(cut.address.toLowerCase())
      const start = begin + cut.offset
      found.push(mention(notice.lines, line, cut.address, text.slice(0, start), text.slice(start + cut.address.length)))
      if (found.length === MAX_MENTIONS) return found
    }
  }
  return found
}

const belongs = (c: string): boolean => c !== '' && c > ' ' && c !== '\u00a0' && c !== '\u3000' && !ENDS.has(c)

/** The offsets between which the characters of an address stand, around its @. */
function around(text: string, at: number): readonly [number, number] {
  let begin = at
  // a quoted local part, `"ann lee"@example.org`
  const quote = text.charAt(at - 1) === '"' ? text.lastIndexOf('"', at - 2) : -1
  if (quote >= 0 && at - quote <= MAX_LOCAL) begin = quote
  else while (begin > 0 && at - begin < MAX_LOCAL && belongs(text.charAt(begin - 1))) begin -= 1
  let end = at + 1
  while (end - at <= MAX_DOMAIN && belongs(text.charAt(end))) end += 1
  return [begin, end]
}

const DOMAIN = /^[\p{L}\p{N}_](?:[\p{L}\p{N}._-]{0,251}[\p{L}\p{N}])?/u
const IDEOGRAPH = /[\u3000-\uffff]/

/** The address without what clings to it: quotation marks, `SMTP=`, words of a language without spaces; null if none is left. */
function cleaned(whole: string, behind: string): { readonly address: string; readonly offset: number } | null {
  // a mix of ideographs and ASCII: the address begins where the ASCII does, and ends where it ends
  let from = whole.length
  while (from > 0 && !IDEOGRAPH.test(whole.charAt(from - 1))) from -= 1
  const local = whole
    .slice(from)
    .replace(/^(?:smtp|to|rcpt|address|recipient|mailto|e-?mail|rfc822|final-recipient)=/i, '')
    .replace(/^['`*•·–—.…]+/, '')
  const ascii = behind.split(IDEOGRAPH, 1)[0] as string
  const domain = (DOMAIN.exec(ascii.includes('.') ? ascii : behind)?.[0] ?? '').split('..', 1)[0] as string
  if (local === '' || domain === '') return null
  return { address: `${local}@${domain}`, offset: whole.length - local.length }
}

/** `<ben@example.org>` behind an address, and an address before one in angle brackets. */
const BRACKETED = /^\s{1,3}<([^\s<>@]{1,64}@[^\s<>@]{1,253})>/
const AN_ADDRESS_AS_NAME = /^[\s*•-]{0,12}[^\s<>@]{1,64}@[^\s<>@]{1,253}\s{1,3}<$/
/** A name before an address: quoted, or words that each begin with a capital letter. */
const A_NAME = /^[\s*•-]{0,12}(?:"[^"]{1,60}"|(?:\p{Lu}[\p{L}.'-]{0,30}\s){0,3}\p{Lu}[\p{L}.'-]{0,30})\s{1,3}<$/u
/** What may stand before an address without making it part of a sentence: bullets, numbers, brackets, quotation marks. */
const BULLETS = /^[\s>*•·–—\-|"'`<([「『“‘«]*$/
const PREFIXES = /mailto:|smtp:|rfc822;|&lt;|(?<![\w.])\d{1,3}[.)]/gi
const isDecoration = (text: string): boolean => BULLETS.test(text.replace(PREFIXES, ''))
const CLOSING = /^[\s>)\]"'`」』”’».,;:|*-]*$/

/** Whether nothing stands behind an address but brackets, quotation marks, and the same address as a link. */
function isClosed(behind: string): boolean {
  const link = /^[>)\]"'\s]{0,3}[<[]?(?:mailto|smtp):/i.exec(behind)?.[0]
  if (link === undefined) return CLOSING.test(behind)
  const end = behind.slice(link.length).search(/[>\]\s]/)
  return end < 0 || CLOSING.test(behind.slice(link.length + end))
}

const COLON = /^[>"'”’»)\]]{0,3}\s{0,4}:\s{0,9}$/
/** Behind an address that heads its line: a colon, brackets, or words that begin the reason. */
const HEADS =
  /^[>"'”’»\])]{0,3}(?:\s{0,4}[:;([{→-]| {1,4}(?:on|invalid|error|\.{3}|unknown|failed|could|cannot|was|is|is not|not|does|has|rejected)\b|\s{1,4}\.\.\.|,\s|\t|\s{1,4}[—–-]\s| {1,4}[245][.\d]\d)/i

const GENERATED =
  /(?:generated (?:from|by)|expanded from|forwarded (?:from|by)|alias of|originally addressed to|original recipient)\s{0,3}:?\s{0,3}[<"']?$/i
/** What an MTA lists in the place of an address. */
const A_PLACE = /^\s{0,12}(?:[|/:"]|save to\b|pipe to\b|file\b|an undisclosed address)/i
/** Labels and words before an address that is no recipient. */
const OF_SENDER =
  /(?:\b(?:dear|hello|hi|message(?= ?<)|from|sender|reply-to|return-path|mail from|sent by|sender's|sender address|written by|author|contact|questions to|help|support|postmaster|administrator|admin|message-?id|id|references|in-reply-to|(?<![a-z-])x-[a-z-]{1,40}|von|absender|avsändare|afsender|lähettäjä|feladó|odesílatel|gönderen|문의|보낸사람|보낸 사람|expéditeur|afzender|remitente|remetente|mittente|nadawca|отправитель|de)|送信者|差出人|发件人|寄件者)\s{0,3}(?:is|ist|:|=)?\s{0,3}[<"'(「[]{0,2}(?:mailto:)?$/i
/** A heading of addresses that did receive the message; not of those that did not. */
const OF_DELIVERED =
  /(?:delivered(?: successfully| ok)?(?: to)?|zugestellt an|zugestellt|remis à|entregado a|entregue a|consegnato a|доставлено)\s{0,3}:$/i
const NEGATED = /\bnot\b|n't|\bun|cannot|nicht|\bpas\b|\bno\b|\bnão\b|\bnon\b|\bне\b/i

/** Whether the heading above an address, or before it on its line, says that it was delivered to. */
function isDelivered(lines: readonly string[], line: number, before: string): boolean {
  let heading = before.trim()
  for (let i = line - 1; heading === '' && i >= 0 && i > line - 20; i -= 1) {
    const text = (lines[i] as string).trim()
    if (!text.includes('@') && text.endsWith(':')) heading = text
  }
  return OF_DELIVERED.test(heading.slice(-100)) && !NEGATED.test(heading)
}

/** Words before an address that is the recipient. */
const OF_TARGET =
  /(?:recipients?|rcpt to|addresses|address|addressed to|error-for|user|users?'s mailbox is full|mailbox|account|(?:message|mail|e-?mail) (?:that you sent |you sent )?to|undeliverable to|deliver(?:ed|y)? (?:it |the message |your message |mail )?to|reach|sent to|destinatari[oa]?s?|destinataire|empfänger|geadresseerden?|ontvanger|adresat|получател[ьяю]|адрес|адресату?|宛先|宛て?|收件人|받는 ?사람|수신자)\s{0,3}(?:is|was|:|=)?\s{0,3}[<"'(「[]{0,2}(?:mailto:)?$/i
const PREPOSITION =
  /(?:\b(?:to|for|an|à|a|aan|bij|para|do|dla|для|на)|,|\band|\bund|\bet|\by|\be|\ben)\s{0,3}:?\s{0,3}[<"'([]{0,2}(?:mailto:)?$/i
const SUMMARY = /^[\s>*|-]{0,12}(?:to|an|à|para|aan|a|do|кому|cc|bcc|宛先|收件人)\s{0,3}[:：]/i
const SUMMARY_BESIDE =
  /^[\s>*|-]{0,12}(?:subject|sent|date|from|betreff|gesendet|datum|von|message-id|objet|envoyé|onderwerp|asunto|fecha|assunto|oggetto|temat|тема|件名|主题|主旨)\s{0,3}[:：]/i
const ASKS = /\b(?:please|assistance|questions?|help|contact|write to|instead)\b/i
const OF_HELP = /https?:|\b(?:contact|questions?|help ?desk|unsubscribe|support team|assistance)\b|please (?:write|send|mail|forward)/i

function mention(lines: readonly string[], line: number, address: string, before: string, behind: string): Mention {
  const near = before.slice(-MAX_BEFORE)
  const common = { address, line, textAfter: '', layout: '' }
  if (isDelivered(lines, line, isDecoration(near) ? '' : near))
    return { ...common, form: 'sentence', saysRecipient: false, excludedBecause: 'named as delivered' }
  // `ann@example.org <ben@example.org>`: the first is the name of the second
  const bracketed = BRACKETED.exec(behind)?.[1]
  if (bracketed !== undefined && bracketed.toLowerCase() !== address.toLowerCase())
    return { ...common, form: 'sentence', saysRecipient: false, excludedBecause: 'the name of another address' }
  const isNamed = AN_ADDRESS_AS_NAME.test(near) || (A_NAME.test(near) && isClosed(behind.slice(0, MAX_BEFORE)))
  if (isDecoration(near) || isNamed) {
    const layout = isNamed ? 'a name' : before.trimEnd().replace(/\d{1,9}/, '0')
    if (COLON.test(behind)) return { ...common, layout, form: 'line start', saysRecipient: false }
    if (isClosed(behind.slice(0, 2 * MAX_BEFORE)))
      return { ...common, layout, form: 'alone', saysRecipient: false, ...afterHelp(lines, line) }
    if (HEADS.test(behind)) return { ...common, layout, form: 'line start', textAfter: behind, saysRecipient: false }
    return { ...common, layout, form: 'sentence', textAfter: behind, saysRecipient: false }
  }
  if (GENERATED.test(near)) {
    // below a pipe, a file or an address that is not disclosed, it is the recipient
    const above = lines[line - 1] ?? ''
    return A_PLACE.test(above)
      ? { ...common, form: 'alone', layout: /^\s{0,12}/.exec(above)?.[0].trimEnd() ?? '', saysRecipient: false }
      : { ...common, form: 'forwarded', saysRecipient: false }
  }
  if (OF_SENDER.test(near) && !/mail to\b/i.test(near))
    return { ...common, form: 'sentence', saysRecipient: false, excludedBecause: 'named as the sender, or for contact' }
  if (SUMMARY.test(before) && [-4, -3, -2, -1, 1, 2, 3, 4].map((n) => line + n).some((i) => SUMMARY_BESIDE.test(lines[i] ?? '')))
    return { ...common, form: 'summary', saysRecipient: false }
  if (ASKS.test(near) && !/deliver|fail|could not|sent\b/i.test(near))
    return { ...common, form: 'sentence', saysRecipient: false, excludedBecause: 'named for contact' }
  const saysRecipient = OF_TARGET.test(near)
  if (saysRecipient || /(?:[:：=]|\S\t)\s{0,3}[<"'([「]{0,2}$/.test(near))
    return { ...common, form: 'labelled', layout: near.replace(/[\d\s]+/g, ' ').slice(-60), textAfter: behind, saysRecipient }
  const help = OF_HELP.test(near) ? { excludedBecause: 'named for contact' } : {}
  return { ...common, form: 'sentence', saysRecipient: PREPOSITION.test(near), ...help }
}

/** An address on a line of its own below a line that asks to write there. */
function afterHelp(lines: readonly string[], line: number): { readonly excludedBecause?: string } {
  let above = line - 1
  while (above >= 0 && above > line - 3 && (lines[above] as string).trim() === '') above -= 1
  if (/\bfrom\s{0,3}:?\s{0,3}$/i.test(lines[above] ?? '')) return { excludedBecause: 'named as the sender' }
  return /\b(?:contact|write to|send (?:a |your )?(?:mail|message|e-?mail) to|to the address|help|support)\b[^.]{0,60}$/i.test(
    lines[above] ?? '',
  ) && !/deliver|fail|could not|recipient/i.test(lines[above] ?? '')
    ? { excludedBecause: 'named for contact' }
    : {}
}
