/** Follows an IMAP mailbox: one connection at a time, reconnected with backoff. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { backoff } from '../backoff.js'
import type { Logger } from '../logger.js'
import { advanceImapCursor, type Database, holdImapCursor, type ImapCursor, releaseImapCursor } from '../store/index.js'
import { type FetchedMail, ImapFetcher } from './imap-fetch.js'
import { ImapMailbox, type ImapOptions, imapErrorText } from './imap-mailbox.js'
import { markProcessed } from './imap-marks.js'
import { logTaken } from './lmtp.js'
import { deliveredTo, returnPathOf } from './maildir.js'
import type { MailReceiver } from './receive-mail.js'

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5 * 60_000
/** Between two requests for a mail that does not come: it holds up the mails after it. */
const LONGEST_ASK_PAUSE_MS = 15_000
const STABLE_AFTER_MS = 60_000
/** Duration of the lease on the mailbox, and how often it is renewed. */
const HOLD_MS = 30_000
const HOLD_AGAIN_MS = 10_000
const BATCH = 50

export class ImapReader {
  readonly #logger: Logger
  /** The mailbox's name in logs and in the database. */
  readonly #name: string
  readonly #holder = randomUUID()
  readonly #stopping = new AbortController()
  /** Mails per fetch: halved while connections fail before any mail is read. */
  #batch = BATCH
  readonly #fetcher: ImapFetcher
  /** Whether a mail was read since the last failure. */
  #progressed = false

  constructor(
    private readonly intake: MailReceiver,
    private readonly database: Database,
    private readonly options: ImapOptions,
    logger: Logger,
  ) {
    this.#name = `${options.user}@${options.host}:${options.port}/${options.folder}`
    this.#fetcher = new ImapFetcher(options.maxBytes)
    this.#logger = logger.child({ mailbox: this.#name })
  }

  stop(): void {
    this.#stopping.abort()
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted
  }

  /** Reads until it is stopped. Never rejects. */
  async run(): Promise<void> {
    let failures = 0
    let announced = false
    while (!this.#stopped) {
      const began = Date.now()
      try {
        const cursor = await this.#hold()
        if (cursor !== null) {
          announced = false
          await this.#read(cursor)
          continue
        }
        if (!announced) this.#logger.info('another process reads this mailbox; this one waits')
        announced = true
        await this.#pause(HOLD_AGAIN_MS)
      } catch (error) {
        if (this.#stopped) break
        if (this.#progressed || Date.now() - began > STABLE_AFTER_MS) failures = 0
        if (!this.#progressed) this.#batch = Math.max(1, Math.floor(this.#batch / 2))
        this.#progressed = false
        failures += 1
        const againInMs = backoff(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
        this.#logger.warn({ error: imapErrorText(error), againInMs }, 'the mailbox cannot be read now; it is tried again')
        await this.#pause(againInMs * (0.8 + 0.4 * Math.random()))
      }
    }
    await releaseImapCursor(this.database, this.#name, this.#holder).catch(() => {})
  }

  #pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => {})
  }

  /** Null if another process holds the mailbox. */
  #hold(): Promise<ImapCursor | null> {
    return holdImapCursor(this.database, this.#name, this.#holder, HOLD_MS)
  }

  /** Reads over one connection until it ends. */
  async #read(held: ImapCursor): Promise<void> {
    await using mailbox = await ImapMailbox.open(this.options, this.#stopping.signal)
    using _held = this.#keepHolding(mailbox)
    let cursor = await this.#cursorIn(mailbox, held)
    this.#logger.info({ from: cursor.lastUid + 1, mails: mailbox.mails }, 'the mailbox is open')
    cursor = await this.#mark(mailbox, cursor)
    while (!this.#stopped) {
      mailbox.assertOpen()
      cursor = await this.#readNew(mailbox, cursor)
      await mailbox.waitForMail()
    }
  }

  #keepHolding(mailbox: ImapMailbox): Disposable {
    const timer = setInterval(() => {
      this.#hold().then(
        (cursor) => cursor ?? mailbox.close(),
        () => {},
      )
    }, HOLD_AGAIN_MS)
    return { [Symbol.dispose]: () => clearInterval(timer) }
  }

  /** A new UIDVALIDITY invalidates all UIDs: mails are read again, and those already applied have no effect. */
  async #cursorIn(mailbox: ImapMailbox, held: ImapCursor): Promise<ImapCursor> {
    const { uidValidity } = mailbox
    if (held.uidValidity === uidValidity) return held
    const lastUid = held.uidValidity === null ? 0 : await this.#lastForgotten(mailbox)
    if (held.uidValidity !== null)
      this.#logger.warn(
        { was: held.uidValidity, is: uidValidity, from: lastUid + 1 },
        'the mailbox was made anew (UIDVALIDITY); it is read again, as far back as bounces are remembered',
      )
    this.#fetcher.forgetAll()
    const cursor = { uidValidity, lastUid, markedUid: lastUid, unreadable: [] }
    await this.#save(cursor)
    return cursor
  }

  /** The last UID among mails that are older than our record of processed bounces. */
  async #lastForgotten(mailbox: ImapMailbox): Promise<number> {
    const since = new Date(Date.now() - this.options.rememberedForMs)
    const [all, recent] = [await mailbox.uids({ all: true }), await mailbox.uids({ since })]
    return Math.max(0, ...all.filter((uid) => uid < (recent[0] ?? Number.POSITIVE_INFINITY)))
  }

  async #save(cursor: ImapCursor): Promise<void> {
    if (!(await advanceImapCursor(this.database, this.#name, this.#holder, cursor)))
      throw new Error('another process reads this mailbox by now')
  }

  /** Reads everything above the last UID. */
  async #readNew(mailbox: ImapMailbox, from: ImapCursor): Promise<ImapCursor> {
    let cursor = from
    for (;;) {
      mailbox.beginLook()
      const uids = await mailbox.uidsBetween(cursor.lastUid + 1)
      if (uids.length === 0) return cursor
      for (let i = 0; i < uids.length; ) {
        const batch = uids.slice(i, i + this.#batch)
        cursor = await this.#mark(mailbox, await this.#readBatch(mailbox, batch, cursor))
        i += batch.length
        this.#batch = BATCH
        if (this.#stopped) return cursor
      }
    }
  }

  async #readBatch(mailbox: ImapMailbox, uids: readonly number[], from: ImapCursor): Promise<ImapCursor> {
    let cursor = from
    const left = [...uids]
    /** UID -> whether that mail is unreadable. */
    const read = new Map<number, boolean>()
    for await (const mail of this.#fetcher.fetch(mailbox, uids)) {
      read.set(mail.uid, await this.#take(mail))
      // mails may arrive in any order: the cursor advances only past those that have
      while (left[0] !== undefined && read.has(left[0])) cursor = advanceCursor(cursor, left.shift() as number, read)
      await this.#save(cursor)
      this.#progressed = true
      if (this.#stopped) return cursor
    }
    if (left.length === 0) return cursor
    const present = new Set(await mailbox.uids({ uid: left.join(',') }))
    for (const uid of left) {
      if (!present.has(uid)) this.#fetcher.forget(uid)
      else if (!read.has(uid)) read.set(uid, await this.#askAgain(mailbox, uid))
      if (this.#stopped) return cursor
      cursor = advanceCursor(cursor, uid, read)
      await this.#save(cursor)
    }
    return cursor
  }

  /**
   * Asks again for a mail that did not come, or not completely.
   * @returns true if it is unreadable, or given up.
   * @throws Error if another connection is to ask next.
   */
  async #askAgain(mailbox: ImapMailbox, uid: number): Promise<boolean> {
    for (;;) {
      const { tries, bytes } = this.#fetcher.triesOf(uid)
      if (this.#fetcher.isGivenUp(uid)) {
        this.#fetcher.forget(uid)
        this.#logger.warn({ uid, bytes, tries }, 'the server does not send a mail; it is moved to intake.imap.quarantineFolder')
        return true
      }
      if (tries === 1) this.#logger.warn({ uid, bytes }, 'the server did not send all of a mail; it is asked for again')
      if (tries > 0 && this.#fetcher.needsReconnect(uid))
        throw new Error(`the server did not send all of the mail ${uid} after ${tries} tries; it is asked for again`)
      await this.#pause(backoff(Math.max(1, tries), FIRST_PAUSE_MS, LONGEST_ASK_PAUSE_MS))
      if (this.#stopped) return false
      mailbox.assertOpen()
      for await (const mail of this.#fetcher.fetch(mailbox, [uid])) return this.#take(mail)
      if ((await mailbox.uids({ uid: String(uid) })).length === 0) {
        this.#fetcher.forget(uid)
        return false
      }
    }
  }

  /** @returns true if the mail is unreadable. */
  async #take({ uid, size, source }: FetchedMail): Promise<boolean> {
    const { maxBytes } = this.options
    if (source === undefined || size > maxBytes) {
      this.#logger.warn(
        { uid, size },
        `a mail is larger than ${maxBytes} bytes (intake.maxSize); it is moved to intake.imap.quarantineFolder`,
      )
      return true
    }
    const taken = await this.intake.take(source, { recipients: deliveredTo(source), sender: returnPathOf(source) }, 'imap')
    logTaken(this.#logger, taken, 'imap')
    return taken.some(({ disposition }) => disposition === 'unreadable')
  }

  /** Flags or moves the mails that were read, including those left by a process that died. */
  async #mark(mailbox: ImapMailbox, cursor: ImapCursor): Promise<ImapCursor> {
    if (cursor.markedUid >= cursor.lastUid) return cursor
    const range = { first: cursor.markedUid + 1, last: cursor.lastUid, unreadable: cursor.unreadable }
    await markProcessed(mailbox, range, this.options, this.#logger)
    const marked = { ...cursor, markedUid: cursor.lastUid, unreadable: [] }
    await this.#save(marked)
    return marked
  }
}

export interface ImapWatch {
  /** Finishes the current mail, and releases the mailbox. */
  close(): Promise<void>
}

/** Never rejects: if the server is unreachable or refuses the login, this is logged and retried. */
export function watchImap(intake: MailReceiver, database: Database, options: ImapOptions, logger: Logger): ImapWatch {
  const reader = new ImapReader(intake, database, options, logger)
  const running = reader.run()
  return {
    close: async () => {
      reader.stop()
      await running
    },
  }
}

/** Advances the cursor past a mail that was processed, or is gone. */
export const advanceCursor = (place: ImapCursor, uid: number, dealtWith: ReadonlyMap<number, boolean>): ImapCursor => ({
  ...place,
  lastUid: uid,
  unreadable: dealtWith.get(uid) ? [...place.unreadable, uid] : place.unreadable,
})
