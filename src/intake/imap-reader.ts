/** Follows an IMAP mailbox: one connection at a time, reconnected with backoff. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { ImapFlow } from 'imapflow'
import type { Logger } from '../logger.js'
import { advanceImapCursor, type Database, holdImapCursor, type ImapCursor, releaseImapCursor } from '../store/index.js'
import { advanceCursor, imapErrorText } from './imap-error-text.js'
import type { ImapOptions } from './imap-options.js'
import { logTaken } from './lmtp.js'
import { deliveredTo, returnPathOf } from './maildir.js'
import type { MailReceiver } from './receive-mail.js'

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 5 * 60_000
const STABLE_AFTER_MS = 60_000
/** The mailbox is held for so long, and held anew this often. */
const HOLD_MS = 30_000
const HOLD_AGAIN_MS = 10_000
const POLL_EVERY_MS = 60_000
const BATCH = 50
const STOP_WITHIN_MS = 5000

export class ImapReader {
  readonly #intake: MailReceiver
  readonly #database: Database
  readonly #options: ImapOptions
  readonly #logger: Logger
  /** As the logs and the table name it. */
  readonly #name: string
  readonly #holder = randomUUID()
  readonly #stopping = new AbortController()
  #client: ImapFlow | null = null
  /** The server has told of mail since the last look. */
  #news = false
  /** How many are asked for at once: fewer where a connection does not last for more. */
  #batch = BATCH
  /** Something was read since the last failure. */
  #gotOn = false

  constructor(intake: MailReceiver, database: Database, options: ImapOptions, logger: Logger) {
    this.#intake = intake
    this.#database = database
    this.#options = options
    this.#logger = logger
    this.#name = `${options.user}@${options.host}:${options.port}/${options.folder}`
  }

  stop(): void {
    this.#stopping.abort()
  }

  async run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    let told = false
    while (!this.#stopping.signal.aborted) {
      const began = Date.now()
      try {
        const place = await holdImapCursor(this.#database, this.#name, this.#holder, HOLD_MS)
        if (place === null) {
          if (!told) this.#logger.info({ mailbox: this.#name }, 'another process reads this mailbox; this one waits')
          told = true
          await this.#pause(HOLD_AGAIN_MS)
          continue
        }
        told = false
        await this.#session(place)
      } catch (error) {
        if (this.#stopping.signal.aborted) break
        if (this.#gotOn || Date.now() - began > STABLE_AFTER_MS) pauseMs = FIRST_PAUSE_MS
        if (!this.#gotOn) this.#batch = Math.max(1, Math.floor(this.#batch / 2))
        this.#gotOn = false
        this.#logger.warn(
          { error: imapErrorText(error), mailbox: this.#name, againInMs: pauseMs },
          'the mailbox cannot be read now; it is tried again',
        )
        await this.#pause(pauseMs * (0.8 + 0.4 * Math.random()))
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      }
    }
    await releaseImapCursor(this.#database, this.#name, this.#holder).catch(() => {})
  }

  #pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => {})
  }

  async #session(held: ImapCursor): Promise<void> {
    const client = await this.#connect()
    this.#client = client
    let broken: Error | null = null
    // without a listener it would end the process
    client.on('error', (error: Error) => {
      broken = error
    })
    client.on('exists', () => {
      this.#news = true
    })
    const hold = setInterval(() => {
      holdImapCursor(this.#database, this.#name, this.#holder, HOLD_MS).then(
        (place) => place ?? client.close(),
        () => {},
      )
    }, HOLD_AGAIN_MS)
    const close = () => client.close()
    // whatever hangs when it is told to stop
    const stopped = () => setTimeout(close, STOP_WITHIN_MS).unref()
    this.#stopping.signal.addEventListener('abort', stopped, { once: true })
    try {
      await client.connect()
      const opened = await client.mailboxOpen(this.#options.folder)
      let place = await this.#placeIn(String(opened.uidValidity), held)
      this.#logger.info({ mailbox: this.#name, from: place.lastUid + 1, mails: opened.exists }, 'the mailbox is open')
      place = await this.#mark(place)
      while (!this.#stopping.signal.aborted && client.usable) {
        place = await this.#readNew(place)
        await this.#somethingCame()
      }
      if (!this.#stopping.signal.aborted) throw broken ?? new Error('the connection was closed')
      await Promise.race([client.logout(), sleep(2000, undefined, { ref: false })])
    } finally {
      clearInterval(hold)
      this.#stopping.signal.removeEventListener('abort', stopped)
      close()
      this.#client = null
    }
  }

  async #connect(): Promise<ImapFlow> {
    const { host, port, tls, user, password, tokenFile, ca, lookEveryMs = POLL_EVERY_MS } = this.#options
    return new ImapFlow({
      ...{ host, port, secure: tls === 'implicit', logger: false },
      ...(tls === 'implicit' ? {} : { doSTARTTLS: tls === 'starttls' }),
      ...(ca === null ? {} : { tls: { ca } }),
      auth: password === null ? { user, accessToken: (await readFile(tokenFile as string, 'utf8')).trim() } : { user, pass: password },
      maxIdleTime: lookEveryMs,
      disableAutoIdle: true,
    })
  }

  /** A changed UIDVALIDITY means that UIDs begin anew: everything is read again, and what was acted on is not acted on twice. */
  async #placeIn(uidValidity: string, held: ImapCursor): Promise<ImapCursor> {
    if (held.uidValidity === uidValidity) return held
    const lastUid = held.uidValidity === null ? 0 : await this.#beforeWhatIsRemembered()
    if (held.uidValidity !== null)
      this.#logger.warn(
        { mailbox: this.#name, was: held.uidValidity, is: uidValidity, from: lastUid + 1 },
        'the mailbox was made anew (UIDVALIDITY); it is read again, as far back as bounces are remembered',
      )
    const place = { uidValidity, lastUid, markedUid: lastUid, unreadable: [] }
    await this.#note(place)
    return place
  }

  /** The last UID of those that came so long ago that nobody knows any more whether they were acted on. */
  async #beforeWhatIsRemembered(): Promise<number> {
    const since = new Date(Date.now() - this.#options.rememberedForMs)
    const [all, recent] = [await this.#imap.search({ all: true }, { uid: true }), await this.#imap.search({ since }, { uid: true })]
    const first = Math.min(...(recent || []))
    return Math.max(0, ...(all || []).filter((uid) => uid < first))
  }

  async #note(place: ImapCursor): Promise<void> {
    if (!(await advanceImapCursor(this.#database, this.#name, this.#holder, place)))
      throw new Error('another process reads this mailbox by now')
  }

  /** Deals with everything above the last UID. */
  async #readNew(from: ImapCursor): Promise<ImapCursor> {
    let place = from
    for (;;) {
      this.#news = false
      // a range whose end lies below its beginning is turned round by servers: what was read is left out
      const found = await this.#imap.search({ uid: `${place.lastUid + 1}:*` }, { uid: true })
      const fresh = (found || []).filter((uid) => uid > place.lastUid).sort((a, b) => a - b)
      if (fresh.length === 0) return place
      for (let i = 0; i < fresh.length; ) {
        const batch = fresh.slice(i, i + this.#batch)
        place = await this.#readBatch(batch, place)
        place = await this.#mark(place)
        i += batch.length
        this.#batch = BATCH
        if (this.#stopping.signal.aborted) return place
      }
    }
  }

  async #readBatch(uids: readonly number[], from: ImapCursor): Promise<ImapCursor> {
    const { maxBytes } = this.#options
    let place = from
    const left = [...uids]
    const dealtWith = new Map<number, boolean>()
    // one mail after another is held here; nothing is asked of the server until all have come
    const query = { uid: true, size: true, source: { start: 0, maxLength: maxBytes + 1 } } as const
    for await (const { uid, size, source } of this.#imap.fetch(uids.join(','), query, { uid: true })) {
      // in between a server tells of changes that others make: of any mail, and without what was asked for
      if (size === undefined || !uids.includes(uid) || dealtWith.has(uid)) continue
      if (source === undefined && size <= maxBytes) continue
      dealtWith.set(uid, await this.#take(uid, Math.max(size, source?.length ?? 0), source))
      // in whatever order they come, the place moves over none that has not
      while (left[0] !== undefined && dealtWith.has(left[0])) place = advanceCursor(place, left.shift() as number, dealtWith)
      await this.#note(place)
      this.#gotOn = true
      if (this.#stopping.signal.aborted) return place
    }
    if (left.length === 0) return place
    const there = new Set((await this.#imap.search({ uid: left.join(',') }, { uid: true })) || [])
    const owed = left.filter((uid) => there.has(uid) && !dealtWith.has(uid))
    if (owed.length > 0 && uids.length > 1)
      throw new Error(`the server did not send ${owed.length} of ${uids.length} mails; they are asked for again`)
    if (owed.length > 0)
      this.#logger.warn({ mailbox: this.#name, uid: owed[0] }, 'the server does not send a mail; it is moved to IMAP_UNREADABLE')
    // what somebody has deleted meanwhile comes no more
    for (const uid of left) place = advanceCursor(place, uid, owed.includes(uid) ? new Map([[uid, true]]) : dealtWith)
    return place
  }

  /** True if nobody can read it. */
  async #take(uid: number, size: number, source: Buffer | undefined): Promise<boolean> {
    const { maxBytes } = this.#options
    if (source === undefined || size > maxBytes) {
      this.#logger.warn(
        { mailbox: this.#name, uid, size },
        `a mail is larger than ${maxBytes} bytes (INTAKE_MAX_SIZE); it is moved to IMAP_UNREADABLE`,
      )
      return true
    }
    const taken = await this.#intake.take(source, { recipients: deliveredTo(source), sender: returnPathOf(source) }, 'imap')
    logTaken(this.#logger, taken, 'imap')
    return taken.some(({ disposition }) => disposition === 'unreadable')
  }

  /** Flags or moves what was dealt with. What a process that died has left is marked by the next. */
  async #mark(place: ImapCursor): Promise<ImapCursor> {
    if (place.markedUid >= place.lastUid) return place
    const { handledFolder, unreadableFolder } = this.#options
    const found = await this.#imap.search({ uid: `${place.markedUid + 1}:${place.lastUid}` }, { uid: true })
    const there = (found || []).filter((uid) => uid > place.markedUid && uid <= place.lastUid)
    const unreadable = there.filter((uid) => place.unreadable.includes(uid))
    const handled = there.filter((uid) => !place.unreadable.includes(uid))
    await this.#move(unreadable, unreadableFolder)
    if (handledFolder !== null) await this.#move(handled, handledFolder)
    else if (handled.length > 0) await this.#imap.messageFlagsAdd(handled.join(','), ['\\Seen'], { uid: true })
    const marked = { ...place, markedUid: place.lastUid, unreadable: [] }
    await this.#note(marked)
    return marked
  }

  /** Mails that cannot be moved stay, marked as read: they hold up none that comes after. */
  async #move(uids: readonly number[], folder: string): Promise<void> {
    if (uids.length === 0) return
    const client = this.#imap
    const range = uids.join(',')
    let why = 'the server refused it'
    try {
      // done or said to be there already; if neither is true, moving says why
      await client.mailboxCreate(folder).catch(() => {})
      if (client.capabilities.has('MOVE') || client.capabilities.has('UIDPLUS')) {
        if ((await client.messageMove(range, folder, { uid: true })) !== false) return
      } else {
        // a move of one's own would expunge what others have marked as deleted
        why = 'the server knows neither MOVE nor UIDPLUS, so that they were copied there'
        if ((await client.messageCopy(range, folder, { uid: true })) === false) why = 'the server refused to copy them'
      }
    } catch (error) {
      if (!client.usable) throw error
      why = imapErrorText(error)
    }
    this.#logger.warn({ mailbox: this.#name, uids: uids.length, folder, why }, 'mails are not moved; they stay, marked as read')
    await client.messageFlagsAdd(range, ['\\Seen'], { uid: true })
  }

  /** Until the server tells of new mail, or it is time to look, or the connection ends. */
  async #somethingCame(): Promise<void> {
    if (this.#news) return
    const client = this.#imap
    const finished = new AbortController()
    const { lookEveryMs = POLL_EVERY_MS } = this.#options
    const stopped = new Promise<void>((resolve) =>
      this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true, signal: finished.signal }),
    )
    try {
      client.idle().catch(() => {})
      await Promise.race([
        once(client, 'exists', { signal: finished.signal }),
        once(client, 'close', { signal: finished.signal }),
        sleep(lookEveryMs, undefined, { signal: finished.signal }),
        stopped,
      ])
    } finally {
      finished.abort()
    }
  }

  get #imap(): ImapFlow {
    if (this.#client === null) throw new Error('the connection was closed')
    return this.#client
  }
}
