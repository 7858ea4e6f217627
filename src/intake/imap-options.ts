/** How the IMAP intake is configured. */
import type { ImapSettings } from '../config/index.js'

export interface ImapOptions extends ImapSettings {
  readonly maxBytes: number
  /** How long processed bounces are remembered. */
  readonly rememberedForMs: number
  readonly lookEveryMs?: number
}
