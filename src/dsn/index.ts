/**
 * Reads a bounce notification: a mail in, records out. One reader a format, tried in a fixed order, standard first; none knows another.
 * A mail that no reader knows is null: what cannot be read stays where it was.
 */
import { type Mail, takeApart } from './mail.js'
import { noticeOf } from './notice.js'
import { readAddressedParagraphs } from './parsers/addressed-paragraphs.js'
import { readListedAddresses } from './parsers/listed-addresses.js'
import { readPhrases } from './parsers/phrases.js'
import { readQuotedFields } from './parsers/quoted-fields.js'
import { readRfc3464 } from './parsers/rfc3464.js'
import { readRfc3834 } from './parsers/rfc3834.js'
import { readRfc5965 } from './parsers/rfc5965.js'
import { readSesNotification } from './parsers/ses-notification.js'
import { readTranscript } from './parsers/transcript.js'
import type { Notification, Reader, ReportedRecipient } from './report.js'
import { quotedReply, readStatus } from './status.js'

export { Fields, headOf, type Mail, takeApart, UnreadableMail } from './mail.js'
export { originalFields } from './original.js'
export type { Notification, ReportedRecipient } from './report.js'
export { readReported } from './report-fields.js'

const TEXT_READERS: readonly Reader[] = [readTranscript, readAddressedParagraphs, readListedAddresses, readPhrases]
const READERS: readonly Reader[] = [readRfc3464, readRfc5965, readRfc3834, readSesNotification, readQuotedFields, ...TEXT_READERS]

/**
 * Reads a mail (RFC 5322 bytes); null where it is no notification that is known.
 * @throws UnreadableMail where it cannot be taken apart at all.
 */
export async function readNotification(mail: Uint8Array): Promise<Notification | null> {
  return readMail(await takeApart(mail))
}

/** What a mail that was taken apart says itself, not what is attached to it. */
export function readItself(mail: Mail): Notification | null {
  const read = firstOf(READERS, mail)
  return read?.kind === 'bounce' ? withItsText(read, mail) : read
}

async function readMail(outer: Mail): Promise<Notification | null> {
  const read = readItself(outer)
  if (read !== null) return read
  // a notification that somebody wrapped, or forwarded as it came
  const inner = outer.parts.find((p) => p.type === 'message/rfc822')
  if (inner === undefined || inner.content.length === 0) return null
  return firstOf([readRfc3464, readRfc5965], await takeApart(inner.content))
}

/** Where a report gives no reply and hardly a status, the text beside it may say more of the same recipient. */
function withItsText(notification: Notification, mail: Mail): Notification {
  // OpenSMTPD calls `delayed` what it has given up, and says so in its text alone
  const expired = noticeOf(mail).lower.includes(': envelope expired')
  if (expired)
    notification = {
      ...notification,
      recipients: notification.recipients.map((r) => (r.action === 'delayed' ? { ...r, action: 'failed' as const } : r)),
    }
  const poor = (r: ReportedRecipient) => quotedReply(r.diagnostic ?? '') === null && /^$|\.0\.0$|\.4\.7$/.test(r.status ?? '')
  if (!notification.recipients.some(poor)) return notification
  const told = TEXT_READERS.flatMap((reader) => reader(mail)?.recipients ?? [])
  return {
    ...notification,
    recipients: notification.recipients.map((r) => {
      const text = poor(r)
        ? told.find((t) => t.recipient.toLowerCase() === r.recipient.toLowerCase() && t.replyCode !== undefined)
        : undefined
      if (text?.diagnostic === undefined) return r
      return { ...r, ...readStatus(r.statusField, text.diagnostic), diagnostic: text.diagnostic }
    }),
  }
}

function firstOf(readers: readonly Reader[], mail: Mail): Notification | null {
  for (const read of readers) {
    const notification = read(mail)
    if (notification !== null) return notification
  }
  return null
}
