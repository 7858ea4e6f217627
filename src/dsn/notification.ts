/** What a notification says, whatever its format. */

/** What happened to one recipient. */
export interface ReportedRecipient {
  /** The recipient as the sender knew it (Original-Recipient, else Final-Recipient). */
  readonly recipient: string
  readonly action: 'failed' | 'delayed' | 'delivered' | 'relayed' | 'expanded'
  /** Enhanced status code, as the field says it. */
  readonly status?: string
  /** The reply that was quoted, unchanged, without its type (`smtp;`). */
  readonly diagnostic?: string
  /** Host that gave the reply, without its type (`dns;`). */
  readonly remoteMta?: string
  readonly lastAttemptAt?: Date
  readonly willRetryUntil?: Date
}

/** A notification about one message. */
export interface Notification {
  readonly recipients: readonly ReportedRecipient[]
  /** Host that made the notification. */
  readonly reportingMta?: string
  /** The notification's own date. */
  readonly date?: Date
  /** Message-ID of the original, without angle brackets. */
  readonly messageId?: string
  /** Envelope sender of the original, as the reporting MTA names it. */
  readonly sender?: string
  /** The original, where it is embedded whole. */
  readonly original?: Buffer
}

/** Reads one format; null where the mail is not of that format. */
export type Reader = (mail: ParsedMail) => Promise<Notification | null>

/** A part of a mail, with its content decoded. */
export interface Part {
  /** Lower case, without parameters. */
  readonly type: string
  readonly content: Buffer
}

/** A mail as the readers get it. */
export interface ParsedMail {
  /** Value of the first header field of that name (lower case), unfolded. */
  header(name: string): string | undefined
  readonly parts: readonly Part[]
}
