import type { Logger } from '../logger.js'
import type { Database } from '../store/index.js'
import type { ImapOptions } from './imap-options.js'
import { ImapReader } from './imap-reader.js'
import type { MailReceiver } from './receive-mail.js'

export interface ImapWatch {
  /** Lets the mail under way finish, and leaves the mailbox to others. */
  close(): Promise<void>
}

/** Never rejects: a server that is away, or refuses the login, is tried again and reported. */
export function watchImap(intake: MailReceiver, database: Database, options: ImapOptions, logger: Logger): ImapWatch {
  const reader = new ImapReader(intake, database, options, logger)
  const running = reader.run()
  return {
    close: async () => {
      reader.stop()
      await running
    },
  }
}
