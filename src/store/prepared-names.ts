/** The names under which PostgreSQL prepares the statements that run often. */
import { createHash } from 'node:crypto'

const names = new Map<string, string>()

/** From now on, the statement with this text is prepared once on each connection. */
export function prepareByName(text: string): void {
  // a pooler shares its connections among processes of several versions: the name depends on the text alone
  if (!names.has(text)) names.set(text, `softbounce_${createHash('sha256').update(text).digest('hex').slice(0, 20)}`)
}

/** The name of a statement; undefined if it is not prepared. */
export const preparedName = (text: string): string | undefined => names.get(text)

/**
 * The prepared statement is not on this connection, or another one has its name: a pooler does not track them. Or it was prepared before a
 * migration changed its table.
 */
export function isUnprepared(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return code === '26000' || code === '42P05' || (code === '0A000' && message?.includes('cached plan') === true)
}

/** How a transaction begins that is repeated if its statements turn out not to be prepared. */
export const BEGIN = 'begin;'
