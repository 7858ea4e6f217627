import type { parseReport, UnreadableMail } from '../../src/dsn/index.js'
export function problemOf(mail: Uint8Array, read: typeof parseReport, unreadable: typeof UnreadableMail): Promise<string | null>
