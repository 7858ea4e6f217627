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

/** The prepared statement is not on this connection, or another one has its name: a pooler does not track them. */
export const isUnprepared = (error: unknown): boolean => ['26000', '42P05'].includes((error as { code?: string }).code ?? '')
