/** One transaction with one host: over a session that is open already, or a new one. */
import { SmtpSession } from './client.js'
import type { Mail, SessionOptions, TransactionResult } from './transaction-result.js'

/** What is to be sent, and how. */
export interface Transaction extends Mail, SessionOptions {}

/** What happened, and the session that it left open; null if it is closed. */
export interface SmtpExchange {
  readonly dialogue: TransactionResult
  readonly session: SmtpSession | null
  /** The open session was over before the message was begun: nothing is known of the message, and a new session wants a permit of its own. */
  readonly stale?: true
}

/** Runs the transaction on a session of its own, and ends that. Never rejects: whatever happens is a TransactionResult. */
export async function transact(transaction: Transaction): Promise<TransactionResult> {
  const { dialogue, session } = await converse(transaction)
  await session?.end()
  return dialogue
}

/**
 * Runs the transaction. Never rejects.
 * @param open a session that is open already. If its server has left it meanwhile, that says nothing about this message.
 */
export async function converse(transaction: Transaction, open: SmtpSession | null = null): Promise<SmtpExchange> {
  if (open !== null) {
    const dialogue = await open.send(transaction)
    if (open.wasStale) {
      await open.end()
      return { dialogue, session: null, stale: true }
    }
    return { dialogue, session: open.isOpen ? open : null }
  }
  const session = new SmtpSession(transaction)
  const dialogue = await session.send(transaction)
  // opportunistic TLS that fails is no reason not to send (RFC 7435): once more in clear
  if (!session.tlsFailed || transaction.path.tls !== 'opportunistic') return { dialogue, session: session.isOpen ? session : null }
  const plain = new SmtpSession(transaction, { plain: true })
  const again = await plain.send(transaction)
  return { dialogue: again, session: plain.isOpen ? plain : null }
}
