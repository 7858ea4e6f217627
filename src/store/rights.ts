/** What the database says, and what to do if its role lacks a right. */

/** PostgreSQL: insufficient privilege. */
export const lacksRights = (error: unknown): boolean => (error as { code?: unknown } | undefined)?.code === '42501'

/** The error's text; with where the rights are listed, if it is about one. */
export function inWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return lacksRights(error) ? `${text} (the rights that each role needs: docs/database.md#rights)` : text
}
