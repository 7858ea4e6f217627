/** Marks mails as processed: flagged, or moved to a folder. */
import type { Logger } from '../logger.js'
import { type ImapMailbox, imapErrorText } from './imap-mailbox.js'

/** Target folders for processed mails; null: they stay, flagged as read. */
export interface ImapFolders {
  readonly handledFolder: string | null
  readonly unreadableFolder: string
}

/**
 * Flags or moves the mails of a range of UIDs.
 * @param unreadable the UIDs of those that could not be parsed.
 */
export async function markProcessed(
  mailbox: ImapMailbox,
  range: { readonly first: number; readonly last: number; readonly unreadable: readonly number[] },
  { handledFolder, unreadableFolder }: ImapFolders,
  logger: Logger,
): Promise<void> {
  const present = await mailbox.uidsBetween(range.first, range.last)
  const isUnreadable = (uid: number) => range.unreadable.includes(uid)
  await move(mailbox, present.filter(isUnreadable), unreadableFolder, logger)
  const handled = present.filter((uid) => !isUnreadable(uid))
  if (handledFolder !== null) await move(mailbox, handled, handledFolder, logger)
  else if (handled.length > 0) await flagAsRead(mailbox, handled, logger)
}

/** A mailbox may not be written; how far it is read stands in the database. */
async function flagAsRead(mailbox: ImapMailbox, uids: readonly number[], logger: Logger): Promise<void> {
  if (await mailbox.client.messageFlagsAdd(uids.join(','), ['\\Seen'], { uid: true })) return
  logger.warn({ uids: uids.length, why: mailbox.refusal }, 'mails cannot be marked as read')
}

/** Mails that cannot be moved stay, flagged as read, so that they do not hold up later ones. */
async function move(mailbox: ImapMailbox, uids: readonly number[], folder: string, logger: Logger): Promise<void> {
  if (uids.length === 0) return
  const why = await moveOrWhyNot(mailbox, uids.join(','), folder)
  if (why === null) return
  logger.warn({ uids: uids.length, folder, why }, 'mails are not moved; they stay, and are marked as read')
  await flagAsRead(mailbox, uids, logger)
}

/** @returns null if they were moved; else the reason. */
async function moveOrWhyNot(mailbox: ImapMailbox, range: string, folder: string): Promise<string | null> {
  const { client } = mailbox
  try {
    // the folder may exist already; if it cannot be created, the move fails with the reason
    await client.mailboxCreate(folder).catch(() => {})
    if (client.capabilities.has('MOVE') || client.capabilities.has('UIDPLUS'))
      return (await client.messageMove(range, folder, { uid: true })) === false ? mailbox.refusal : null
    // a plain EXPUNGE would remove what others have marked as deleted
    return (await client.messageCopy(range, folder, { uid: true })) === false
      ? mailbox.refusal
      : 'the server knows neither MOVE nor UIDPLUS, so that they were copied there'
  } catch (error) {
    if (!client.usable) throw error
    return imapErrorText(error)
  }
}
