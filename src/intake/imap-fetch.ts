/**
 * Fetches mails by IMAP, and notices those that a server announces before it has them: it then sends nothing of a mail, an empty one, or its
 * beginning. Such a mail is asked for again.
 */
import type { ImapMailbox } from './imap-mailbox.js'

/** A mail as the server sent it; without a source if it is larger than the limit. */
export interface FetchedMail {
  readonly uid: number
  /** Bytes, as the server says (RFC822.SIZE). */
  readonly size: number
  readonly source: Buffer | undefined
}

/** Tries before a mail is given up. */
const MOST_TRIES = 8
/** Tries in one connection: a session may keep what it read first. */
const TRIES_A_CONNECTION = 3
/**
 * The size that a server states may be an estimate. If nearly as many bytes come, and the same ones in two connections, the mail is accepted.
 * After a few such mails all are accepted that come nearly whole, until a size is exact.
 */
const ESTIMATE_TOLERANCE = 0.9
const IDENTICAL_TRIES_TO_ACCEPT = 2 * TRIES_A_CONNECTION
const ESTIMATES_UNTIL_ACCEPTED = 3

export class ImapFetcher {
  /** Mails that came incompletely: how often, and with how many bytes at last. */
  readonly #incomplete = new Map<number, { readonly tries: number; readonly bytes: number; readonly isSame: boolean }>()
  /** Mails that turned out to be of another size than was stated. */
  #estimates = 0

  constructor(private readonly maxBytes: number) {}

  /** The mails that came completely, as they arrive; send no other command until all have. */
  async *fetch(mailbox: ImapMailbox, uids: readonly number[]): AsyncGenerator<FetchedMail> {
    const query = { uid: true, size: true, source: { start: 0, maxLength: this.maxBytes + 1 } } as const
    const read = new Set<number>()
    for await (const { uid, size, source } of mailbox.client.fetch(uids.join(','), query, { uid: true })) {
      // unsolicited FETCH responses (other clients' changes) also arrive here: for any mail, without the requested items
      if (size === undefined || !uids.includes(uid) || read.has(uid)) continue
      if (!this.#isComplete(uid, size, source)) continue
      read.add(uid)
      this.#incomplete.delete(uid)
      yield { uid, size: Math.max(size, source?.length ?? 0), source }
    }
    for (const uid of uids) if (!read.has(uid) && !this.#incomplete.has(uid)) this.#note(uid, 0)
  }

  /** How often this mail was asked for and came incompletely, and how many bytes of it came at last. */
  triesOf(uid: number): { readonly tries: number; readonly bytes: number } {
    return this.#incomplete.get(uid) ?? { tries: 0, bytes: 0 }
  }

  isGivenUp(uid: number): boolean {
    return this.triesOf(uid).tries >= MOST_TRIES
  }

  /** Whether a new connection is to ask next. */
  needsReconnect(uid: number): boolean {
    return this.triesOf(uid).tries % TRIES_A_CONNECTION === 0
  }

  forget(uid: number): void {
    this.#incomplete.delete(uid)
  }

  /** Call when UIDs mean other mails. */
  forgetAll(): void {
    this.#incomplete.clear()
    this.#estimates = 0
  }

  #isComplete(uid: number, size: number, source: Buffer | undefined): boolean {
    if (size > this.maxBytes) return true
    const bytes = source?.length ?? 0
    if (bytes > 0 && bytes >= size) {
      if (bytes === size) this.#estimates = 0
      return true
    }
    const isNearly = bytes > 0 && bytes >= ESTIMATE_TOLERANCE * size
    if (isNearly && this.#estimates >= ESTIMATES_UNTIL_ACCEPTED) return true
    const { tries, isSame } = this.#note(uid, bytes)
    if (!isNearly || !isSame || tries < IDENTICAL_TRIES_TO_ACCEPT) return false
    this.#estimates += 1
    return true
  }

  #note(uid: number, bytes: number) {
    const before = this.#incomplete.get(uid)
    const now = { tries: (before?.tries ?? 0) + 1, bytes, isSame: before === undefined || (before.isSame && before.bytes === bytes) }
    this.#incomplete.set(uid, now)
    return now
  }
}
