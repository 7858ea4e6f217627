/** Which status a report means: of its `Status` field, the reply it quotes, and its words, the most specific one. */
import { parseStatus, refusesRecipient, saysNoSuchRecipient, statusOfReply } from '../bounce/index.js'

/**
 * Where a status was read: the `Status` field (RFC 3464 2.3.4), the enhanced code of a reply (RFC 2034), its basic code (RFC 5321 4.2),
 * or the words of a text.
 */
export type StatusSource = 'field' | 'enhanced code' | 'basic code' | 'text'

/** What is known of a status. */
export interface ReadStatus {
  readonly status?: string
  readonly statusFrom?: StatusSource
  readonly statusField?: string
  readonly replyCode?: number
}

/** A reply that stands somewhere in a text. */
export interface QuotedReply {
  /** Basic code; 0 where only an enhanced code stands there. */
  readonly code: number
  readonly status: string | null
}

/** Codes that replies to MAIL, RCPT and DATA have, so that not any number in a text is taken for one. */
const CODES = new Set(
  '421 422 430 431 432 441 442 446 447 449 450 451 452 453 454 455 458 459 471 500 501 502 503 504 505 510 511 512 513 515 517 521 522 523 530 531 533 534 535 538 540 541 542 543 546 547 550 551 552 553 554 555 556 557 571 572 573 574'
    .split(' ')
    .map(Number),
)

const BOTH = /(?<![\d.])([45]\d\d)[- :'#]{1,3}([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)/g
const ENHANCED = /(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)/g
const BASIC = /(?<![\w.@/#-])([45]\d\d)(?=[ \-.,:;>)'"]|$)/g

/** The reply in a text: one whose two codes agree, else the first enhanced and the first basic code; the most specific. Null if there is none. */
export function quotedReply(text: string): QuotedReply | null {
  const both = [...text.matchAll(BOTH)].map((m) => ({ code: Number(m[1]), status: m[2] as string })).filter(agree)
  const alone = [...text.matchAll(ENHANCED)].map((m) => m[1] as string).filter((s) => parseStatus(s) !== null)
  const best = mostSpecific(both.map((b) => b.status)) ?? null
  const other = mostSpecific(alone) ?? null
  if (best !== null && specificity(best) >= specificity(other)) return both.find((b) => b.status === best) as QuotedReply
  const code = basicCode(text)
  return code === 0 && other === null ? null : { code, status: other }
}

/** The first basic code in a text; 0 if there is none. */
function basicCode(text: string): number {
  for (const match of text.matchAll(BASIC)) if (CODES.has(Number(match[1]))) return Number(match[1])
  return 0
}

const agree = ({ code, status }: { code: number; status: string }): boolean =>
  parseStatus(status) !== null && String(code).charAt(0) === status.charAt(0)

/** 0 for nothing, 1 for a class alone (5.0.0), 2 for a subject (5.1.0), 3 for a detail. */
function specificity(status: string | null): number {
  const parsed = status === null ? null : parseStatus(status)
  return parsed === null ? 0 : parsed.detail !== 0 ? 3 : parsed.subject !== 0 ? 2 : 1
}

const mostSpecific = (statuses: readonly string[]): string | undefined =>
  statuses.reduce<string | undefined>((best, s) => (specificity(s) > specificity(best ?? null) ? s : best), undefined)

/** Reads the status of a field and of the reply, or the words, beside it. Both may be missing. `givenUp`: the system tries no more. */
export function readStatus(field: string | undefined, diagnostic: string | undefined, givenUp = true): ReadStatus {
  const own = /^\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)/.exec(field ?? '')?.[1] ?? null
  const text = diagnostic?.slice(0, MAX_TEXT)
  const reply = text === undefined ? null : quotedReply(text)
  const known = {
    ...(field === undefined ? {} : { statusField: field }),
    ...(reply === null || reply.code === 0 ? {} : { replyCode: reply.code }),
  }
  const say = (status: string, statusFrom: StatusSource): ReadStatus => ({ status, statusFrom, ...known })
  const said = reply?.status ?? null
  // where both say as much the field counts, unless it tells only that time ran out (RFC 3463 X.4.7 prefers the actual problem), or says
  // "not now" of what the receiving system itself refused for good
  const agreed = said !== null && reply !== null && reply.code !== 0 && agree({ code: reply.code, status: said })
  const better =
    agreed && specificity(said) === specificity(own) && (/^[45]\.4\.7$/.test(own ?? '') || (own?.startsWith('4') && said.startsWith('5')))
  if (said !== null && (specificity(said) > specificity(own) || better)) return say(said, 'enhanced code')
  if (specificity(own) > 1) return say(own as string, 'field')
  // a bare code whose number, or whose text, says more than the class
  if (reply !== null && reply.code !== 0 && said === null) {
    const bare = statusOfReply({ code: reply.code, status: null, text: `${reply.code} ${text}` })
    if (bare !== null && specificity(bare) > 1 && own?.charAt(0) !== '5') return say(bare, 'basic code')
    if (own === null && refusesRecipient({ code: reply.code, text: text as string })) return say('5.1.1', 'text')
  }
  if (own !== null && parseStatus(own) !== null) return say(own, 'field')
  if (said !== null) return say(said, 'enhanced code')
  if (reply !== null) return say(`${Math.floor(reply.code / 100)}.0.0`, 'basic code')
  const word = text === undefined ? null : statusOfWords(text, givenUp)
  return word === null ? known : say(word, 'text')
}

const MAX_TEXT = 10_000

/** What systems say that give no code at all, in lower case, with subject and detail. The first that is found counts. */
const WORDS: readonly (readonly [string, readonly string[]])[] = [
  ['2.2', ['mailbox is full', 'mailbox full', 'mailfolder is full', 'quota', 'exceeded the local limit', 'mailbox exceeds', 'over limit']],
  ['3.4', ['size limit', 'too large', 'too big', 'exceeds the maximum', 'message size']],
  [
    '4.7',
    [
      'retry timeout exceeded',
      'retry time not reached',
      'in the queue too long',
      'giving up',
      'given up',
      'delivery retry timeout',
      'was aborted after',
      'not delivered within',
      'delivery failed 20 attempts',
      'have been unsuccessful',
      'multiple retries',
      'for the last',
      'has been delayed',
      'will be retried',
      'not yet been delivered',
    ],
  ],
  ['4.1', ['connection refused', 'connection timed out', 'not responding', 'host not reachable', 'did not accept our requests to connect']],
  ['4.3', ['try again', 'host name lookup failure', 'dns error', 'name service error']],
  [
    '4.4',
    [
      'unrouteable address',
      'unrouteable mail domain',
      'host unknown',
      'unknown host',
      'host not found',
      'no mx record',
      'could not find a gateway',
      'no such domain',
      'domain does not exist',
      'unknown domain',
    ],
  ],
]

/**
 * The status that the words of a text mean; x.0.0 if they say only that it failed. Null if the text is empty. Its class says whether
 * the system has given up; whether the trouble lasts is another matter (5.4.7: it was tried for days).
 */
export function statusOfWords(text: string, givenUp: boolean): string | null {
  if (text.trim() === '') return null
  const lower = text.toLowerCase()
  const detail = saysNoSuchRecipient(text) ? '1.1' : WORDS.find(([, phrases]) => phrases.some((phrase) => lower.includes(phrase)))?.[0]
  return `${givenUp ? 5 : 4}.${detail ?? '0.0'}`
}
