/** The parts of nodemailer's transports and messages that `track` uses. */
import type { Readable } from 'node:stream'
import type { SendMailOptions } from 'nodemailer'
import type { TrackedOptions } from './track-options.js'

/** What a transport returns for one envelope. */
export interface Info {
  envelope?: { from: unknown; to: unknown[] }
  accepted?: unknown[]
  rejected?: unknown[]
  [key: string]: unknown
}

export type Callback = (error: Error | null, info?: Info) => void

/** Nodemailer's MailMessage. */
export interface MailMessage {
  readonly data: SendMailOptions & { softbounce?: TrackedOptions }
  readonly message: { getEnvelope(): { from: string | false; to: string[] }; messageId(): string; createReadStream(): Readable }
}

export interface Transport {
  send(mail: MailMessage, callback: Callback): void
  close?(...args: unknown[]): unknown
}
