/** What an IMAP server said when it refused, and the cursor behind a mail that was processed. */
import type { ImapCursor } from '../store/index.js'
import { causeOf } from './lmtp.js'

/** What the server said, if it said something. */
export function imapErrorText(error: unknown): string {
  const { responseText, authenticationFailed } = error as { responseText?: string; authenticationFailed?: boolean }
  const said = responseText ?? causeOf(error)
  return authenticationFailed ? `the login was refused: ${said}` : said
}

/** The place behind a mail that was dealt with, or is gone. */
export const advanceCursor = (place: ImapCursor, uid: number, dealtWith: ReadonlyMap<number, boolean>): ImapCursor => ({
  ...place,
  lastUid: uid,
  unreadable: dealtWith.get(uid) ? [...place.unreadable, uid] : place.unreadable,
})
