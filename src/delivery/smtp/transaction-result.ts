/** What one SMTP transaction came to, and what the client is given for one. */
import type { SmtpReply, Stage } from '../../bounce/index.js'
import type { NextHop } from '../next-hop.js'
import type { SmtpTimeouts } from './timeouts.js'

/** What one transaction sends. */
export interface Mail {
  /** Envelope sender and recipient: domains in A-labels. */
  readonly sender: string
  readonly recipient: string
  /** The message in canonical form (canonical-message.ts). */
  readonly content: Buffer
  /** Ask for reports where the server offers DSN (RFC 3461), with this envelope identifier. */
  readonly envid?: string
  /** Asked when the server waits for the content; false stops the transaction before anything is sent. */
  readonly beforeContent: () => Promise<boolean>
  /** Stops the transaction, unless the final dot is out: then the reply is awaited. */
  readonly signal?: AbortSignal
}

/** With whom, and how. */
export interface SessionOptions {
  readonly path: NextHop
  /** Name in EHLO. */
  readonly ehloDomain: string
  readonly timeouts: SmtpTimeouts
}

/** What happened. `at` is the step that was waited for; `mailServer` who was asked. */
export type TransactionResult = { readonly mailServer: string } & (
  | { readonly kind: 'reply'; readonly at: Stage; readonly reply: SmtpReply }
  /** Closed, broken, or silent beyond the step's time. */
  | { readonly kind: 'lost'; readonly at: Stage; readonly afterFinalDot: boolean; readonly text: string }
  /** Nobody answered the connection in time, or a router said that the host is out of reach. */
  | { readonly kind: 'unreachable'; readonly text: string }
  /** The host refused the connection. */
  | { readonly kind: 'refused'; readonly text: string }
  /** No way out on our own side: name resolution, route, sockets. */
  | { readonly kind: 'local'; readonly noRoute?: true; readonly text: string }
  /** TLS that must be verified could not be: by the relay's setting, or the receiving system's policy (RFC 8461, RFC 7672). */
  | { readonly kind: 'policy'; readonly at: Stage; readonly text: string }
  /** The server lacks what this message needs. */
  | { readonly kind: 'unsupported'; readonly status: string; readonly text: string }
  /** Stopped by us, before the final dot. */
  | { readonly kind: 'stopped' }
)

/** What a transaction came to, and what became of its connection. */
export interface SessionResult {
  readonly result: TransactionResult
  /** `stale`: the server had closed the idle session before this message was begun. `tls-failed`: STARTTLS was tried and failed. */
  readonly connection: 'open' | 'closed' | 'stale' | 'tls-failed'
}

export const BLOCK_BYTES = 64 * 1024

export const NONE: Mail = { sender: '', recipient: '', content: Buffer.alloc(0), beforeContent: async () => false }

/** True if nothing is said without TLS that was verified. */
export const mustBeVerified = ({ tls }: NextHop): boolean => tls === 'verify' || tls === 'dane'

const BEFORE_CONTENT: readonly Stage[] = ['MAIL', 'RCPT', 'DATA']

/**
 * A later transaction in a session found nobody, or a 421 before the content: the server ends the session (idle, or after so many messages),
 * which says nothing about this message. A new session shows whether it is.
 */
export const wasLeft = (result: TransactionResult, nothingWasSaid: boolean): boolean =>
  result.kind === 'reply' ? BEFORE_CONTENT.includes(result.at) && result.reply.code === 421 : result.kind === 'lost' && nothingWasSaid
