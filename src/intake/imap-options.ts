/** How the IMAP intake is configured. */
import type { ImapSettings } from '../config/index.js'

export interface ImapOptions extends ImapSettings {
  readonly maxBytes: number
  /** How long it is known which bounces were acted on. */
  readonly rememberedForMs: number
  readonly lookEveryMs?: number
}
