/** Input and result of one SMTP transaction. */
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
  /** Requests DSNs if the server offers them (RFC 3461), with this envelope identifier. */
  readonly envid?: string
  /** Called when the server waits for the content; false stops the transaction before any of it is sent. */
  readonly beforeContent: () => Promise<boolean>
  /** Stops the transaction, unless the final dot has been sent: then the reply is awaited. */
  readonly signal?: AbortSignal
}

/** The server to connect to, and how. */
export interface SessionOptions {
  readonly path: NextHop
  /** Name in EHLO. */
  readonly ehloDomain: string
  readonly timeouts: SmtpTimeouts
}

/** The result. `at`: the step whose reply was awaited; `mailServer`: the server that was contacted. */
export type TransactionResult = { readonly mailServer: string } & (
  | { readonly kind: 'reply'; readonly at: Stage; readonly reply: SmtpReply }
  /** The connection was closed, broke, or timed out. */
  | { readonly kind: 'lost'; readonly at: Stage; readonly afterFinalDot: boolean; readonly text: string }
  /** The connection timed out, or the network reported the host as unreachable. */
  | { readonly kind: 'unreachable'; readonly text: string }
  /** The host refused the connection. */
  | { readonly kind: 'refused'; readonly text: string }
  /** A failure on our side: name resolution, route, sockets. */
  | { readonly kind: 'local'; readonly noRoute?: true; readonly text: string }
  /** TLS could not be verified although the relay's setting or the destination's policy (RFC 8461, RFC 7672) requires it. */
  | { readonly kind: 'policy'; readonly at: Stage; readonly text: string }
  /** The server lacks what this message needs. */
  | { readonly kind: 'unsupported'; readonly status: string; readonly text: string }
  /** Stopped by us, before the final dot. */
  | { readonly kind: 'stopped' }
)

/** A transaction's result, and the state of its connection. */
export interface SessionResult {
  readonly result: TransactionResult
  /** `stale`: the server had closed the idle session before this message began. `tls-failed`: STARTTLS was tried and failed. */
  readonly connection: 'open' | 'closed' | 'stale' | 'tls-failed'
}

export const BLOCK_BYTES = 64 * 1024

export const NONE: Mail = { sender: '', recipient: '', content: Buffer.alloc(0), beforeContent: async () => false }

/** True if nothing may be sent without verified TLS. */
export const mustBeVerified = ({ tls }: NextHop): boolean => tls === 'verify' || tls === 'dane'

const BEFORE_CONTENT: readonly Stage[] = ['MAIL', 'RCPT', 'DATA']

/**
 * True if the server has ended a reused session (idle, or after a number of messages): the connection was gone, or it replied 421 before
 * the content. That is no answer to this message, so a new session is tried.
 */
export const wasLeft = (result: TransactionResult, nothingWasSaid: boolean): boolean =>
  result.kind === 'reply' ? BEFORE_CONTENT.includes(result.at) && result.reply.code === 421 : result.kind === 'lost' && nothingWasSaid
