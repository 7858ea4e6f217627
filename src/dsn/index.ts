/**
 * Reads a bounce notification: a mail in, records out. One reader a format, tried in a fixed order, standard first; none knows another.
 * A mail that no reader knows is null, never an exception: what cannot be read stays where it was.
 */
import PostalMime from 'postal-mime'
import type { Notification, ParsedMail, Reader } from './notification.js'
import { readRfc3464 } from './rfc3464.js'

export type { Notification, ReportedRecipient } from './notification.js'

const READERS: readonly Reader[] = [readRfc3464]

/** Reads a mail (RFC 5322 bytes); null where it is no notification that is known. */
export async function readNotification(mail: Uint8Array): Promise<Notification | null> {
  const parsed = await parse(mail)
  for (const read of READERS) {
    const notification = await read(parsed)
    if (notification !== null) return notification
  }
  return null
}

async function parse(mail: Uint8Array): Promise<ParsedMail> {
  const email = await PostalMime.parse(mail, { forceRfc822Attachments: true, attachmentEncoding: 'arraybuffer' })
  return {
    header: (name) => email.headers.find((h) => h.key === name)?.value,
    parts: email.attachments.map((attachment) => {
      const content = Buffer.from(attachment.content as ArrayBuffer)
      // the parser ends each line of a part, also the last one, whose line end belongs to the boundary (RFC 2046 5.1.1)
      return { type: attachment.mimeType.toLowerCase(), content: content.at(-1) === 0x0a ? content.subarray(0, -1) : content }
    }),
  }
}
