/** Delivery status notifications (RFC 3464; RFC 6533 for international addresses). */
import PostalMime from 'postal-mime'
import { parseStatus } from '../bounce/index.js'
import type { Notification, ParsedMail, Part, ReportedRecipient } from './notification.js'

const ACTIONS = ['failed', 'delayed', 'delivered', 'relayed', 'expanded'] as const

/** Reads a notification by its message/delivery-status part; null where there is none. */
export async function readRfc3464(mail: ParsedMail): Promise<Notification | null> {
  const report = mail.parts.find((p) => p.type === 'message/delivery-status' || p.type === 'message/global-delivery-status')
  if (report === undefined) return null
  const [perMessage, ...perRecipient] = groups(report)
  const embedded = mail.parts.find((p) => p.type === 'message/rfc822' || p.type === 'message/global')
  const headers = embedded ?? mail.parts.find((p) => p.type === 'text/rfc822-headers' || p.type === 'message/global-headers')
  const original = headers === undefined ? undefined : await PostalMime.parse(headers.content)
  const messageId = original?.messageId?.replace(/^\s*<|>\s*$/g, '')
  const returnPath = original?.headers.find((h) => h.key === 'return-path')?.value.replace(/^\s*<|>\s*$/g, '')
  const sender = typed(perMessage?.get('x-postfix-sender')) ?? (returnPath === '' ? undefined : returnPath)
  const reportingMta = typed(perMessage?.get('reporting-mta'))
  const date = time(mail.header('date'))
  return {
    recipients: perRecipient.map(recipientOf).filter((r) => r !== null),
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(date === undefined ? {} : { date }),
    ...(messageId === undefined || messageId === '' ? {} : { messageId }),
    ...(sender === undefined ? {} : { sender }),
    ...(embedded !== undefined && isWhole(embedded, original, perMessage) ? { original: embedded.content } : {}),
  }
}

type Fields = ReadonlyMap<string, string>

/** What is read of a report: enough for a thousand recipients. */
const MAX_REPORT_BYTES = 1024 * 1024
const MAX_GROUPS = 1001

/** The groups of fields, separated by empty lines: the first is about the message, each other about a recipient (RFC 3464 section 2.1). */
function groups(report: Part): Fields[] {
  const lines = report.content.subarray(0, MAX_REPORT_BYTES).toString('utf8').split(/\r?\n/)
  const found: Map<string, string>[] = []
  let fields: Map<string, string> | null = null
  let last = ''
  for (const line of lines) {
    if (line.trim() === '') {
      fields = null
      continue
    }
    if (fields === null) {
      if (found.length >= MAX_GROUPS) break
      fields = new Map()
      found.push(fields)
    }
    if (/^[ \t]/.test(line)) fields.set(last, `${fields.get(last) ?? ''} ${line.trim()}`)
    else {
      const colon = line.indexOf(':')
      last = line.slice(0, Math.max(colon, 0)).trim().toLowerCase()
      // the first of a name counts
      if (colon > 0 && !fields.has(last)) fields.set(last, line.slice(colon + 1).trim())
    }
  }
  return found
}

function recipientOf(fields: Fields): ReportedRecipient | null {
  const recipient = addressOf(fields.get('original-recipient')) ?? addressOf(fields.get('final-recipient'))
  const action = ACTIONS.find(
    (a) =>
      a ===
      fields
        .get('action')
        ?.split(/[\s;(]/, 1)[0]
        ?.toLowerCase(),
  )
  if (recipient === undefined || action === undefined) return null
  const status = /^\d\.\d{1,3}\.\d{1,3}/.exec(fields.get('status') ?? '')?.[0]
  const diagnostic = typed(fields.get('diagnostic-code'))
  const remoteMta = typed(fields.get('remote-mta'))
  const lastAttemptAt = time(fields.get('last-attempt-date'))
  const willRetryUntil = time(fields.get('will-retry-until'))
  return {
    recipient,
    action,
    ...(status === undefined || parseStatus(status) === null ? {} : { status }),
    ...(diagnostic === undefined ? {} : { diagnostic }),
    ...(remoteMta === undefined ? {} : { remoteMta }),
    ...(lastAttemptAt === undefined ? {} : { lastAttemptAt }),
    ...(willRetryUntil === undefined ? {} : { willRetryUntil }),
  }
}

/** `dns; mx.example.org` -> `mx.example.org`; a value without its type is taken as it is. */
function typed(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  const semicolon = value.indexOf(';')
  const text = (semicolon >= 0 && /^[A-Za-z0-9-]+\s*$/.test(value.slice(0, semicolon)) ? value.slice(semicolon + 1) : value).trim()
  return text === '' ? undefined : text
}

/** The address of `rfc822; ann@example.org` or `utf-8; …`; xtext of + and = and UTF-8 escapes (RFC 3461 4, RFC 6533 3) are undone. */
function addressOf(value: string | undefined): string | undefined {
  const address = typed(value)?.replace(/^<|>$/g, '')
  if (address === undefined || !address.includes('@')) return undefined
  return address
    .replace(/\\x\{([0-9A-Fa-f]{2,6})\}/g, (whole, hex) => {
      const code = Number.parseInt(hex, 16)
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole
    })
    .replace(/\+2B/g, '+')
    .replace(/\+3D/g, '=')
}

function time(value: string | undefined): Date | undefined {
  const at = value === undefined ? Number.NaN : Date.parse(value)
  return Number.isNaN(at) ? undefined : new Date(at)
}

/**
 * True where the embedded original is provably whole: a multipart message whose last boundary is there; any other only from Postfix, which
 * returns a message whole or its headers alone (other systems cut a long one off).
 */
function isWhole(
  embedded: Part,
  original: Awaited<ReturnType<typeof PostalMime.parse>> | undefined,
  perMessage: Fields | undefined,
): boolean {
  const type = original?.headers.find((h) => h.key === 'content-type')?.value ?? ''
  if (original === undefined || original.headers.length === 0) return false
  if (!/^\s*multipart\//i.test(type)) return [...(perMessage?.keys() ?? [])].some((name) => name.startsWith('x-postfix-'))
  const boundary = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))/i.exec(type)
  const text = boundary?.[1] ?? boundary?.[2]
  return text !== undefined && embedded.content.includes(`\n--${text}--`)
}
