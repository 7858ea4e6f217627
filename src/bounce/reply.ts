/** SMTP replies (RFC 5321 section 4.2, enhanced codes RFC 2034), and replies that mean 4.3.2 without giving it. */
import { recipientDetail } from './recipient-texts.js'
import { type EnhancedStatus, isGeneric, parseStatus } from './status.js'
import { saysNobodyAnswered } from './status-words.js'

/** A reply: its basic code (0 if the text holds none), its enhanced status code if it has one, and its text, unchanged. */
export interface SmtpReply {
  readonly code: number
  readonly status: string | null
  readonly text: string
}

/** Replaces NULs and other control characters, which break databases and logs; line ends and tabs stay. */
export function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is taken out
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, '\ufffd')
}

/** Reads `421 4.3.2 System not accepting network messages`, also in several lines (`421-4.3.2 …`); the text is kept unchanged. */
export function parseReply(text: string): SmtpReply {
  const clean = withoutControls(text)
  // only the code counts, not the text after it (RFC 5321 4.2)
  const match = /^([2-5]\d\d)(?!\d)[ \t-]?(?:([245]\.\d{1,3}\.\d{1,3})(?=[\s:;,]|$))?/.exec(clean.trimStart())
  if (match === null) return { code: 0, status: null, text: clean }
  const status = match[2] !== undefined && parseStatus(match[2]) !== null ? match[2] : null
  // RFC 2034 section 4: the classes of the two codes must agree; if they do not, the basic code is what the protocol acts on
  const agrees = status !== null && status[0] === match[1]?.[0]
  return { code: Number(match[1]), status: agrees ? status : null, text: clean }
}

/** Basic codes that mean the whole system takes no mail (IANA ties X.3.2 to 453 and 521; 421 is sent at shutdown and overload). */
const SYSTEM_REPLIES: Record<number, string> = { 421: '4.3.2', 453: '4.3.2', 521: '5.3.2' }

/** Phrases of systems that omit the code 4.3.2, in lower case. */
const SYSTEM_TEXTS = [
  'system not accepting network messages',
  'not accepting network messages',
  'maximum number of concurrent server connections has exceeded',
  'connection rate limit exceeded',
]

/** Basic codes that can mean an unknown recipient; without an enhanced code, the text decides (RFC 5321 4.2.2). */
const RECIPIENT_REPLIES = [550, 551, 553]

/** True if a bare reply says that there is no such recipient, by its code and its text. */
export function refusesRecipient({ code, text }: Pick<SmtpReply, 'code' | 'text'>): boolean {
  return RECIPIENT_REPLIES.includes(code) && recipientDetail(text) !== null
}

/**
 * The enhanced status of a reply: its own if specific; else the one that its text or basic code implies; else only the class
 * (4.0.0). Null if the text is not a reply.
 */
export function statusOfReply(reply: SmtpReply): string | null {
  if (reply.status !== null && !isGeneric(parseStatus(reply.status) as EnhancedStatus)) return reply.status
  const lower = reply.text.toLowerCase()
  if (reply.code < 500 && SYSTEM_TEXTS.some((t) => lower.includes(t))) return '4.3.2'
  const known = SYSTEM_REPLIES[reply.code]
  if (known !== undefined && reply.status === null) return reply.code === 421 && saysNobodyAnswered(reply.text) ? '4.4.1' : known
  if (reply.status !== null) return reply.status
  return reply.code >= 200 ? `${Math.floor(reply.code / 100)}.0.0` : null
}
