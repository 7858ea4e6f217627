/** One transaction with one host: over a session that is open already, or a new one. */
import { SmtpSession } from './client.js'
import type { Mail, SessionOptions, TransactionResult } from './transaction-result.js'

/** What is to be sent, and how. */
export interface Transaction extends Mail, SessionOptions {}

/** What happened, and the session that it left open; null if it is closed. */
export interface SmtpExchange {
  readonly result: TransactionResult
  readonly session: SmtpSession | null
  /** The open session was over before the message was begun: nothing is known of the message, and a new session wants a permit of its own. */
  readonly stale?: true
}

/** Runs the transaction on a session of its own, and ends that. Never rejects: every failure is a TransactionResult. */
export async function transact(transaction: Transaction): Promise<TransactionResult> {
  const { result, session } = await converse(transaction)
  await session?.end()
  return result
}

/**
 * Runs the transaction. Never rejects.
 * @param open a session that is open already. If its server has left it meanwhile, that says nothing about this message.
 */
export async function converse(transaction: Transaction, open: SmtpSession | null = null): Promise<SmtpExchange> {
  if (open !== null) {
    const { result, connection } = await open.send(transaction)
    if (connection === 'stale') return { result, session: null, stale: true }
    return { result, session: connection === 'open' ? open : null }
  }
  const first = await startSession(transaction)
  // opportunistic TLS that fails is no reason not to send (RFC 7435): once more in clear
  return first.tlsFailed && transaction.path.tls === 'opportunistic' ? startSession(transaction, { plain: true }) : first
}

async function startSession(transaction: Transaction, how?: { readonly plain: true }): Promise<SmtpExchange & { tlsFailed: boolean }> {
  const session = new SmtpSession(transaction, how)
  const { result, connection } = await session.send(transaction)
  return { result, session: connection === 'open' ? session : null, tlsFailed: connection === 'tls-failed' }
}
