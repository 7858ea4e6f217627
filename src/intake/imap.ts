import type { Logger } from '../logger.js'
import type { Database } from '../store/index.js'
import type { ImapOptions } from './imap-options.js'
import { ImapReader } from './imap-reader.js'
import type { MailReceiver } from './receive-mail.js'

export interface ImapWatch {
  /** Finishes the current mail, and releases the mailbox. */
  close(): Promise<void>
}

/** Never rejects: if the server is unreachable or refuses the login, this is logged and retried. */
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
