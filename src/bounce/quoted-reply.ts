/** Finds the SMTP reply that a text quotes, anywhere in the text. */
import { isExpired, parseStatus } from './status.js'

/** An SMTP reply quoted in a text. */
export interface QuotedReply {
  /** Basic code; 0 if the text has only an enhanced code. */
  readonly code: number
  readonly status: string | null
}

/** Known reply codes to MAIL, RCPT and DATA; other numbers in a text do not count as codes. */
const CODES = new Set(
  '421 422 430 431 432 441 442 446 447 449 450 451 452 453 454 455 458 459 471 500 501 502 503 504 505 510 511 512 513 515 517 521 522 523 530 531 533 534 535 538 540 541 542 543 546 547 550 551 552 553 554 555 556 557 571 572 573 574'
    .split(' ')
    .map(Number),
)

/** What every code begins with: a cheap check before the full ones. */
const MAY_BE_CODE = /[45][.\d]\d/
const BOTH = /(?<![\d.])([45]\d\d)[- :'#]{1,3}([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)/g
const ENHANCED = /(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)/g
/** A basic code where a reply begins: at the start of a line or of a clause, never a number within one. */
const BASIC =
  /(?:^|[:;,.(<>"'[]|->|\b(?:said|says|replied|reply|responded|response|error|\w{0,20}code|status|smtp|failed|refused|with|was|returned|by|remote host|host))[ \t("'[:]{0,4}([45]\d\d)(?=[ \-.,:;>)'"]|$)(?! ?(?:[kmg]i?b|bytes|messages)\b)/gim

/**
 * The most specific reply in a text: a pair of agreeing codes, else the first basic code, with the most specific enhanced code of its class.
 * A reply after an arrow is the cause, and wins over one that names none (`550 5.4.300 Message expired -> 421 4.3.2 ...`). Null if there is
 * none.
 */
export function quotedReply(text: string): QuotedReply | null {
  const arrow = text.lastIndexOf('->')
  const whole = firstReply(arrow < 0 ? text : text.slice(0, arrow))
  if (arrow < 0) return whole
  const cause = firstReply(text.slice(arrow + 2))
  if (cause === null || whole === null) return cause ?? whole
  const namesNoCause = whole.status === null || isExpired(whole.status) || specificity(whole.status) < 3
  return namesNoCause ? cause : whole
}

function firstReply(text: string): QuotedReply | null {
  if (!MAY_BE_CODE.test(text)) return null
  const pairs = [...text.matchAll(BOTH)].map((m) => ({ code: Number(m[1]), status: m[2] as string })).filter(agree)
  const reasons = pairs.filter(({ status }) => !isExpired(status))
  const both = reasons.length > 0 ? reasons : pairs
  const alone = [...text.matchAll(ENHANCED)].map((m) => m[1] as string).filter(isRegisteredSubject)
  const best = mostSpecific(both.map((b) => b.status)) ?? null
  const other = mostSpecific(alone) ?? null
  if (best !== null && specificity(best) >= specificity(other)) return both.find((b) => b.status === best) as QuotedReply
  const code = basicCode(text)
  if (code === 0) return other === null ? null : { code, status: other }
  // the classes of the two must agree (RFC 2034 section 4): a version number may look like a status
  return { code, status: mostSpecific(alone.filter((status) => status.charAt(0) === String(code).charAt(0))) ?? null }
}

/** Subjects above 7 are not registered (RFC 3463 section 3): such a text is a version number, say. */
const isRegisteredSubject = (status: string): boolean => (parseStatus(status)?.subject ?? 8) <= 7

/** The first basic code in a text; 0 if there is none. */
function basicCode(text: string): number {
  for (const match of text.matchAll(BASIC)) if (CODES.has(Number(match[1]))) return Number(match[1])
  return 0
}

const agree = ({ code, status }: { code: number; status: string }): boolean =>
  parseStatus(status) !== null && String(code).charAt(0) === status.charAt(0)

/** 0 for nothing, 1 for a class alone (5.0.0), 2 for a subject (5.1.0), 3 for a detail. */
export function specificity(status: string | null): number {
  const parsed = status === null ? null : parseStatus(status)
  return parsed === null ? 0 : parsed.detail !== 0 ? 3 : parsed.subject !== 0 ? 2 : 1
}

const mostSpecific = (statuses: readonly string[]): string | undefined =>
  statuses.reduce<string | undefined>((best, s) => (specificity(s) > specificity(best ?? null) ? s : best), undefined)
