import type { readNotification, UnreadableMail } from '../../src/dsn/index.js'
export function problemOf(mail: Uint8Array, read: typeof readNotification, unreadable: typeof UnreadableMail): Promise<string | null>
