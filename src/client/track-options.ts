/** What callers of track pass and get, and its error. */
import type { SendMailOptions } from 'nodemailer'
import type { RetryOptions } from '../bounce/index.js'
import type { Config } from '../config/options.js'
import type { Suppression } from '../suppression/look-up.js'

/**
 * Options in the shape of `softbounce.yaml`; sections that `track` does not use are ignored. It uses `database`, `returnPath`, `retry`,
 * `relay.provider`, `relay.confirmWithin` and `encryption`, which must be those of the worker.
 */
export interface TrackOptions extends Config {
  /** Whether to retry refusals whose status is in retry.statuses; default true. False: `sendMail` rejects, as nodemailer's does. */
  readonly retryRefused?: boolean
  /**
   * If the database cannot be reached before sending: `fail` (default) rejects, and nothing is sent; `send-untracked` sends as nodemailer
   * would, without suppression check, signed return path or retries, and sets `info.untracked`.
   */
  readonly onDatabaseError?: 'fail' | 'send-untracked'
}

/** A recipient whose temporary refusal is being retried. */
export interface RetriedRecipient {
  readonly recipient: string
  readonly workflowId: string
  /** The earliest time of the retry, ISO 8601; jitter adds up to 10 % of the delay, at most 15 minutes. */
  readonly retryAt: string
}

/** What `sendMail` adds to nodemailer's info. */
export interface TrackedInfo {
  /** Temporarily refused recipients, who are retried. */
  readonly pending?: string[]
  readonly retries?: RetriedRecipient[]
  /** The database could not be reached, and `onDatabaseError` is `send-untracked`. */
  readonly untracked?: true
}

/**
 * - `ERETURNPATH`: no key is set to sign return paths with.
 * - `EENVELOPE`: the message has no envelope sender, or no recipient.
 * - `EOPTIONS`: a field of `softbounce` is wrong.
 * - `EDATABASE`: the database could not be used before sending; nothing was sent.
 * - `EHANDOVER`: a recipient was temporarily refused, and the retry could not be stored; it is the `cause` of nodemailer's error.
 */
export type TrackErrorCode = 'ERETURNPATH' | 'EENVELOPE' | 'EOPTIONS' | 'EDATABASE' | 'EHANDOVER'

/** An error of `track`, with a code. */
export class TrackError extends Error {
  override name = 'TrackError'
  constructor(
    readonly code: TrackErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Options of one message, in the field `softbounce` of `sendMail`'s argument. */
export interface TrackedOptions extends Pick<RetryOptions, 'destination' | 'schedule' | 'urgent' | 'deliverBy'> {
  /** The recipient has just requested this mail: sending it lifts a suppression for unavailability. */
  readonly askedFor?: boolean
}

/** The parts of nodemailer's Transporter that `track` uses, for any version. */
export interface Transporter {
  // biome-ignore lint/suspicious/noExplicitAny: nodemailer's own types differ from version to version
  transporter: any
  // biome-ignore lint/suspicious/noExplicitAny: the same
  sendMail(data: any): Promise<any>
}

/** A transporter whose messages are tracked. */
export type Tracked<T extends Transporter> = T & {
  sendMail(
    data: SendMailOptions & { softbounce?: TrackedOptions },
  ): Promise<Omit<InfoOf<T['transporter']>, keyof TrackedInfo> & TrackedInfo>
}

/** What `sendMail` of a transport resolves to. */
// biome-ignore lint/suspicious/noExplicitAny: nodemailer's own types differ from version to version
type Sends<Info> = { send(mail: any, callback: (error: any, info: Info) => void): void }
// biome-ignore lint/suspicious/noExplicitAny: the same
type InfoOf<Inner> = Inner extends Sends<infer Info> ? NonNullable<Info> : any

/** The message was not sent: some of its recipients are suppressed. Nobody got it; send it to the others alone. */
export class SuppressedRecipients extends Error {
  override name = 'SuppressedRecipients'
  readonly code = 'ESUPPRESSED'
  constructor(readonly suppressions: readonly Suppression[]) {
    super(
      `the message was sent to nobody, since it is also for suppressed ${suppressions.length === 1 ? 'address' : 'addresses'} ${suppressions
        .slice(0, 20)
        .map((s) => `${s.address} (${s.reason}${s.until === null ? '' : `, until ${s.until.toISOString()}`})`)
        .join(', ')}: leave ${suppressions.length === 1 ? 'it' : 'them'} out`,
    )
  }
}
