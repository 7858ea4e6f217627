/** The text of an IMAP error, and the cursor after a processed mail. */
import type { ImapCursor } from '../store/index.js'
import { causeOf } from './lmtp.js'

/** The server's error text, or else the error's message. */
export function imapErrorText(error: unknown): string {
  const { responseText, authenticationFailed } = error as { responseText?: string; authenticationFailed?: boolean }
  const said = responseText ?? causeOf(error)
  return authenticationFailed ? `the login was refused: ${said}` : said
}

/** Advances the cursor past a mail that was processed, or is gone. */
export const advanceCursor = (place: ImapCursor, uid: number, dealtWith: ReadonlyMap<number, boolean>): ImapCursor => ({
  ...place,
  lastUid: uid,
  unreadable: dealtWith.get(uid) ? [...place.unreadable, uid] : place.unreadable,
})
