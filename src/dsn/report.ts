/** A parsed report, independent of its format. */

import type { StatusSource } from '../bounce/index.js'
import type { Mail } from './mail.js'

export type Action = 'failed' | 'delayed' | 'delivered' | 'relayed' | 'expanded'

/** What happened to one recipient. */
export interface ReportedRecipient {
  /** The recipient that the reporting system tried (Final-Recipient, RFC 3464 2.3.2). */
  readonly recipient: string
  /** The recipient as the sender knew it (Original-Recipient, 2.3.1), if it differs. */
  readonly originalRecipient?: string
  readonly action: Action
  /** Enhanced status code: the more specific one of the field and the reply. */
  readonly status?: string
  readonly statusFrom?: StatusSource
  /** The `Status` field, unchanged. */
  readonly statusField?: string
  /** Basic code of the quoted reply. */
  readonly replyCode?: number
  /** The quoted reply, or the reason in the system's own words; unchanged, without its type (`smtp;`). */
  readonly diagnostic?: string
  /** Host that gave the reply, without its type (`dns;`). */
  readonly remoteMta?: string
  readonly lastAttemptAt?: Date
  readonly willRetryUntil?: Date
}

/** A report about one message. */
export interface ParsedReport {
  /** A complaint (RFC 5965) is never retried; an automatic answer (RFC 3834) reports no delivery result. */
  readonly kind: 'bounce' | 'complaint' | 'automatic answer'
  /** Feedback type of a complaint, in lower case: `abuse`, `fraud`, `virus`, `not-spam`, `auth-failure`, `unsubscribe` … */
  readonly feedbackType?: string
  readonly recipients: readonly ReportedRecipient[]
  /** Host that generated the report. */
  readonly reportingMta?: string
  /** The report's own date. */
  readonly date?: Date
  /** When the reporting system received the message. */
  readonly arrivalDate?: Date
  /** Message-ID of the original, without angle brackets. */
  readonly messageId?: string
  /** Envelope sender of the original, as the reporting system names it. */
  readonly sender?: string
  /** How much of the original came back. */
  readonly returned: 'whole' | 'headers' | 'none'
  /** The original, if it is provably whole. */
  readonly original?: Buffer
}

/** Reads one format; null if the mail is not of that format. */
export type Parser = (mail: Mail) => ParsedReport | null
