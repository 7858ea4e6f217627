/**
 * Sends through nodemailer so that every bounce can be authenticated and retried: each recipient gets a signed return path of its own, the
 * message is kept for as long as a bounce can come, and nobody who is suppressed gets mail unnoticed.
 */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { SendMailOptions } from 'nodemailer'
import { addressKey, checkBouncedMessage, envelopeAddress, messageIdKey, parseAddress } from '../bounce/index.js'
import { readSettings, type Settings } from '../config/index.js'
import { canonicalMessage } from '../delivery/canonical-message.js'
import { dayOf, sentId, signReturnPath, signToken } from '../delivery/return-path.js'
import { headOf } from '../dsn/index.js'
import { type Provider, providerIdIn, withToken } from '../providers/index.js'
import { type Database, migrateToLatest, openDatabase, recordProviderId, storeSent } from '../store/index.js'
import { activeSuppressions, liftSuppression } from '../suppression/index.js'
import { SuppressedRecipients, type Tracked, type TrackedOptions, type TrackOptions, type Transporter } from './track-options.js'

/** What a transport gives back for one envelope. */
interface Info {
  envelope?: { from: unknown; to: unknown[] }
  accepted?: unknown[]
  rejected?: unknown[]
  [key: string]: unknown
}

type Callback = (error: Error | null, info?: Info) => void
/** The parts of nodemailer's MailMessage that a transport uses. */
interface MailMessage {
  readonly data: SendMailOptions & { softbounce?: TrackedOptions }
  readonly message: { getEnvelope(): { from: string | false; to: string[] }; messageId(): string; createReadStream(): Readable }
}
interface Transport {
  send(mail: MailMessage, callback: Callback): void
  close?(...args: unknown[]): unknown
}

/** Marks a transport that is tracked already. */
const TRACKED = Symbol('softbounce')

/** Envelopes of one message that are under way at once. */
const AT_ONCE = 5

/**
 * Tracks what a transporter sends: `track(nodemailer.createTransport(...))`. The transporter is given back, and is used as ever; its own
 * plugins, defaults and DKIM stay.
 * @throws Error if RETURN_PATH_KEYS is not set; WrongSettings.
 * @example
 * const transporter = track(nodemailer.createTransport('smtp://127.0.0.1:25'))
 * await transporter.sendMail({ from: 'shop@example.com', to: 'ann@example.org', subject: 'Your invoice', text: 'Thank you.' })
 */
export function track<T extends Transporter>(transporter: T, options: TrackOptions = {}): Tracked<T> {
  const settings = options.settings ?? readSettings()
  if (settings.returnPaths === null)
    throw new Error('RETURN_PATH_KEYS is not set: without a key no return path can be signed (openssl rand -base64 32)')
  const inner = transporter.transporter as Transport
  if (TRACKED in inner) return transporter as Tracked<T>
  const tracking = new Tracking(inner, {
    paths: settings.returnPaths,
    provider: options.provider ?? settings.relayPreset ?? null,
    valuesTable: options.database ?? null,
    open: () => openDatabase(settings.databaseUrl),
  })
  const send = (mail: MailMessage, callback: Callback) => {
    tracking.send(mail).then(
      (info) => callback(null, info),
      (error: Error) => callback(error),
    )
  }
  const close = (...args: unknown[]) => {
    void tracking.close()
    return inner.close?.(...args)
  }
  // whatever else nodemailer asks of its transport, or sets on it (a proxy's sockets), is the inner one's
  transporter.transporter = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'send') return send
      if (name === 'close') return close
      if (name === TRACKED) return true
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    has: (target, name) => name === TRACKED || Reflect.has(target, name),
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
  return transporter as Tracked<T>
}

/** How messages are tracked. */
interface How {
  readonly paths: NonNullable<Settings['returnPaths']>
  readonly provider: Provider | null
  /** A database that is not ours to close. */
  readonly valuesTable: Database | null
  readonly open: () => Database
}

class Tracking {
  readonly #inner: Transport
  readonly #how: How
  #own: Promise<Database> | null = null

  constructor(inner: Transport, how: How) {
    this.#inner = inner
    this.#how = how
  }

  /** Closes the database, if it is its own; it is opened again by the next message. */
  async close(): Promise<void> {
    const own = this.#own
    this.#own = null
    if (this.#how.valuesTable === null && own !== null) await (await own).close()
  }

  #database(): Promise<Database> {
    this.#own ??= this.#ready().catch((error) => {
      this.#own = null
      throw error
    })
    return this.#own
  }

  async #ready(): Promise<Database> {
    const database = this.#how.valuesTable ?? this.#how.open()
    await migrateToLatest(database.db, database.kind)
    return database
  }

  async send(mail: MailMessage): Promise<Info> {
    const { from, to, ...more } = mail.message.getEnvelope()
    // mail with the null sender (an automatic answer) asks for no bounce
    if (!from && mail.data.envelope !== undefined) return this.#untracked(mail)
    if (!from) throw new Error('the message has no envelope sender (from): a bounce could not come back')
    const sender = envelopeAddress(parseAddress(from))
    const recipients = [...new Map(to.map((address) => [addressKey(address), envelopeAddress(parseAddress(address))])).entries()]
    if (recipients.length === 0) throw new Error('the message has no recipient')
    const { askedFor = false, ...options } = mail.data.softbounce ?? {}
    const content = canonicalMessage(await contentOf(mail))
    // of a message that was given raw, nodemailer makes up a Message-ID that is not in it
    const messageId = messageIdKey(headOf(content).first('message-id') ?? mail.message.messageId())
    checkOptions(options, { messageId, sender, recipient: recipients[0]?.[1] as string })
    const database = await this.#database()
    const now = new Date()
    await checkSuppressions(
      database,
      recipients.map(([key]) => key),
      askedFor,
      now,
    )
    const sent = recipients.map(([recipient, envelopeRecipient]) => ({
      id: sentId(messageId, recipient),
      messageId,
      recipient,
      envelopeRecipient,
      sender,
      options: Object.keys(options).length === 0 ? null : JSON.stringify(options),
    }))
    await storeSent(database, content, sent, now)
    const { paths, provider } = this.#how
    const envelopes = sent.map(({ id, envelopeRecipient }) => {
      const token = { id, day: dayOf(now), send: 0 }
      return {
        ...{ id, content: provider === null ? content : withToken(provider, content, signToken(paths, token)) },
        envelope: { ...more, from: signReturnPath(paths, token, sender), to: [envelopeRecipient] },
      }
    })
    const ended = await this.#sendAll(mail, envelopes)
    for (const [i, one] of ended.entries()) await this.#recordProviderName(database, envelopes[i]?.id as string, one)
    return together(ended, sender)
  }

  /** The name that the provider gave it: best effort, since the message is on its way. */
  async #recordProviderName(database: Database, id: string, ended: Ended): Promise<void> {
    const { provider } = this.#how
    const name = provider !== null && 'info' in ended ? providerIdIn(provider, String(ended.info.response ?? '')) : null
    if (provider === null || name === null) return
    await recordProviderId(database.db, provider, name, { sentId: id, send: 0 }, new Date()).catch(() => {})
  }

  #untracked(mail: MailMessage): Promise<Info> {
    return new Promise((resolve, reject) => this.#inner.send(mail, (error, info) => (error ? reject(error) : resolve(info ?? {}))))
  }

  async #sendAll(mail: MailMessage, envelopes: readonly Addressed[]): Promise<Ended[]> {
    const ended: Ended[] = []
    const left = [...envelopes.entries()]
    const work = async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) ended[next[0]] = await this.#sendOne(mail, next[1])
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, envelopes.length) }, work))
    return ended
  }

  #sendOne(mail: MailMessage, { content, envelope }: Addressed): Promise<Ended> {
    const message = Object.assign(Object.create(mail.message), {
      getEnvelope: () => ({ ...envelope, to: [...envelope.to] }),
      createReadStream: () => Readable.from([content], { objectMode: false }),
    })
    const one = Object.assign(Object.create(mail), { message, data: mail.data }) as MailMessage
    return new Promise((resolve) => {
      this.#inner.send(one, (error, info) => resolve(error ? { envelope, error } : { envelope, info: info ?? {} }))
    })
  }
}

interface Envelope {
  readonly from: string
  readonly to: string[]
}

/** What one recipient gets. */
interface Addressed {
  readonly content: Buffer
  readonly envelope: Envelope
}

type Ended = { readonly envelope: Envelope } & ({ readonly error: Error } | { readonly info: Info })

async function checkSuppressions(database: Database, keys: readonly string[], askedFor: boolean, now: Date): Promise<void> {
  const suppressed = await activeSuppressions(database, keys, now)
  const lifted = askedFor ? suppressed.filter((s) => s.reason === 'unavailable') : []
  const standing = suppressed.filter((s) => !lifted.includes(s))
  if (standing.length > 0) throw new SuppressedRecipients(standing)
  for (const { address } of lifted)
    await database.db.transaction().execute((tx) => liftSuppression(tx, address, 'asked for', now, 'temporary'))
}

/** What retries would be refused for is refused before anything is sent. */
function checkOptions(options: Omit<TrackedOptions, 'askedFor'>, of: { messageId: string; sender: string; recipient: string }): void {
  const bounce = { status: '4.3.2', bouncedAt: new Date().toISOString() }
  const checked = checkBouncedMessage({ ...of, ...options, message: { stored: 'x' }, bounce })
  if ('faults' in checked) throw new Error(`softbounce: ${checked.faults.join('; ')}`)
}

async function contentOf(mail: MailMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  const stream = mail.message.createReadStream()
  const ended = once(stream, 'end')
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await ended
  return Buffer.concat(chunks)
}

/** One answer for all envelopes, as nodemailer gives it for one with several recipients: it fails where every one failed. */
function together(ended: readonly Ended[], sender: string): Info {
  const failed = ended.filter((one): one is Extract<Ended, { error: Error }> => 'error' in one)
  const taken = ended.filter((one): one is Extract<Ended, { info: Info }> => 'info' in one)
  const [first] = taken
  if (first === undefined) throw failed[0]?.error
  const all = (name: 'accepted' | 'rejected') => taken.flatMap((one) => one.info[name] ?? [])
  return {
    ...first.info,
    envelope: ended.length === 1 ? first.envelope : { from: sender, to: ended.flatMap((one) => one.envelope.to) },
    ...('accepted' in first.info ? { accepted: all('accepted') } : {}),
    ...('rejected' in first.info ? { rejected: [...all('rejected'), ...failed.flatMap((one) => one.envelope.to)] } : {}),
    ...(failed.length === 0
      ? {}
      : { rejectedErrors: failed.map(({ envelope, error }) => Object.assign(error, { recipient: envelope.to[0] })) }),
  }
}
