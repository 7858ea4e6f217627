/** What `track` does with each message: checks, stores, signs and sends it, and stores temporary refusals for retry. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import {
  addressKey,
  checkBouncedMessage,
  envelopeAddress,
  messageIdKey,
  parseAddress,
  parseDuration,
  type RetryStatuses,
} from '../bounce/index.js'
import { canonicalMessage } from '../delivery/canonical-message.js'
import { dayOf, type ReturnPaths, sentId, signReturnPath, signToken } from '../delivery/return-path.js'
import { headOf } from '../dsn/index.js'
import type { WorkflowIds } from '../encryption/workflow-ids.js'
import { type Provider, providerIdIn, withToken } from '../providers/index.js'
import {
  APPLICATION,
  addToInbox,
  type Database,
  type HandedOver,
  inWords,
  recordProviderId,
  storeId,
  storeNumber,
  storeSent,
} from '../store/index.js'
import { activeSuppressions, liftSuppression } from '../suppression/index.js'
import { refusalOf, retriedStatus } from './refusal.js'
import { SuppressedRecipients, TrackError, type TrackedOptions } from './track-options.js'
import { type Ended, type Envelope, together } from './tracked-info.js'
import type { Info, MailMessage, Transport } from './transport.js'

/** Envelopes of one message that are sent at once. */
const AT_ONCE = 5

/** How messages are tracked. */
export interface TrackingContext {
  readonly returnPaths: ReturnPaths
  readonly provider: Provider | null
  /** A database that the caller closes; null: `open` opens one. */
  readonly database: Database | null
  readonly open: () => Database
  /** Null: refusals reject, as nodemailer's do. */
  readonly retry: {
    readonly statuses: RetryStatuses
    readonly firstDelayMs: (messageId: string, recipient: string) => number
    readonly workflowIds: WorkflowIds
  } | null
  readonly onDatabaseError: 'fail' | 'send-untracked'
}

/** One recipient's envelope, with the content that it gets. */
interface Outgoing {
  readonly id: string
  readonly messageId: string
  readonly recipient: string
  readonly token: string
  readonly firstDelayMs: number
  readonly content: Buffer
  readonly envelope: Envelope
}

export class Tracking {
  #own: Promise<Database> | null = null
  /** Messages under way: the database stays open for them. */
  readonly #sending = new Set<Promise<unknown>>()

  constructor(
    private readonly inner: Transport,
    private readonly context: TrackingContext,
  ) {}

  /** Closes the database if it is our own; the next message opens it again. */
  async close(): Promise<void> {
    while (this.#sending.size > 0) await Promise.allSettled(this.#sending)
    const own = this.#own
    this.#own = null
    if (this.context.database !== null || own === null) return
    const database = await own.catch(() => null)
    await database?.close().catch(() => {})
  }

  async send(mail: MailMessage): Promise<Info> {
    const sending = this.#send(mail)
    this.#sending.add(sending)
    try {
      return await sending
    } finally {
      this.#sending.delete(sending)
    }
  }

  async #send(mail: MailMessage): Promise<Info> {
    const { from } = mail.message.getEnvelope()
    // mail from the null sender (an automatic reply) must not bounce (RFC 5321 4.5.5)
    if (!from && mail.data.envelope !== undefined) return this.#sendUntracked(mail)
    if (!from) throw new TrackError('EENVELOPE', 'the message has no envelope sender (from): a bounce could not come back')
    const sender = addressed(from)
    const content = canonicalMessage(await contentOf(mail))
    let prepared: { readonly database: Database; readonly outgoing: readonly Outgoing[] }
    try {
      prepared = await this.#prepare(mail, sender, content)
    } catch (error) {
      if (!(error instanceof TrackError) || error.code !== 'EDATABASE' || this.context.onDatabaseError === 'fail') throw error
      return { ...(await this.#sendUntracked(mail, content)), untracked: true }
    }
    return together(await this.#sendAll(mail, prepared.outgoing, prepared.database), sender, mail.message.messageId())
  }

  /** Checks suppressions, and stores what a retry would need. If this throws, nothing was sent. */
  async #prepare(mail: MailMessage, sender: string, content: Buffer) {
    const { to } = mail.message.getEnvelope()
    const recipients = [...new Map(to.map(addressed).map((address) => [addressKey(address), address])).entries()]
    if (recipients.length === 0) throw new TrackError('EENVELOPE', 'the message has no recipient')
    const { askedFor = false, ...options } = mail.data.softbounce ?? {}
    // for a raw message, nodemailer makes up a Message-ID that is not in it
    const messageId = messageIdKey(headOf(content).first('message-id') ?? mail.message.messageId())
    checkOptions(options, { messageId, sender, recipient: recipients[0]?.[1] as string })
    const now = new Date()
    const database = await reaching(() => this.#database())
    const keys = recipients.map(([key]) => key)
    const store = storeNumber(await reaching(() => storeId(database)))
    const lifted = await reaching(() => checkSuppressions(database, keys, askedFor, now))
    const sent = recipients.map(([recipient, envelopeRecipient]) => ({
      id: sentId(messageId, recipient),
      messageId,
      recipient,
      envelopeRecipient,
      sender,
      options: Object.keys(options).length === 0 ? null : JSON.stringify(options),
    }))
    await reaching(() => storeSent(database, content, sent, now))
    // only once the message is kept: if that fails, nothing is sent
    await reaching(() => lift(database, lifted, now))
    const { returnPaths, provider, retry } = this.context
    const [first] = options.schedule ?? []
    const outgoing = sent.map(({ id, envelopeRecipient }): Outgoing => {
      const claims = { id, day: dayOf(now), send: 0, store }
      const token = signToken(returnPaths, claims)
      return {
        ...{ id, messageId, recipient: envelopeRecipient, token },
        firstDelayMs: first === undefined ? (retry?.firstDelayMs(messageId, envelopeRecipient) ?? 0) : parseDuration(first),
        content: provider === null ? content : withToken(provider, content, token),
        envelope: { from: signReturnPath(returnPaths, claims, sender), to: [envelopeRecipient] },
      }
    })
    return { database, outgoing }
  }

  #database(): Promise<Database> {
    this.#own ??= this.#ready().catch((error) => {
      this.#own = null
      throw error
    })
    return this.#own
  }

  async #ready(): Promise<Database> {
    const database = this.context.database ?? this.context.open()
    try {
      await storeId(database)
    } catch (error) {
      if (this.context.database === null) await database.close().catch(() => {})
      throw error
    }
    return database
  }

  #sendUntracked(mail: MailMessage, content?: Buffer): Promise<Info> {
    const again = content === undefined ? mail : withContent(mail, mail.message.getEnvelope(), content)
    return new Promise((resolve, reject) => this.inner.send(again, (error, info) => (error ? reject(error) : resolve(info ?? {}))))
  }

  async #sendAll(mail: MailMessage, outgoing: readonly Outgoing[], database: Database): Promise<Ended[]> {
    const ended: Ended[] = []
    const left = [...outgoing.entries()]
    const work = async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) ended[next[0]] = await this.#sendOne(mail, next[1], database)
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, outgoing.length) }, work))
    return ended
  }

  async #sendOne(mail: MailMessage, outgoing: Outgoing, database: Database): Promise<Ended> {
    const { content, envelope } = outgoing
    const { from: _, to: __, ...more } = mail.message.getEnvelope() as { from: unknown; to: unknown }
    const one = withContent(mail, { ...more, ...envelope }, content)
    const answer = await new Promise<Error | Info>((resolve) => this.inner.send(one, (error, info) => resolve(error ?? info ?? {})))
    if (answer instanceof Error) return this.#refused(answer, outgoing, database)
    await this.#recordProviderId(database, outgoing.id, answer)
    return { kind: 'accepted', envelope, info: answer }
  }

  /** Stores a refusal in the inbox if it is to be retried; the row is committed before the promise resolves. */
  async #refused(error: Error, { id, messageId, recipient, token, firstDelayMs, envelope }: Outgoing, database: Database): Promise<Ended> {
    const { retry } = this.context
    const refusal = refusalOf(error)
    const status = retry === null || refusal === null ? null : retriedStatus(refusal, retry.statuses)
    if (retry === null || refusal === null || status === null) return { kind: 'refused', envelope, error }
    const at = new Date()
    const handedOver: HandedOver = { sentId: id, recipient, token, at: at.toISOString(), status, reply: refusal.reply }
    try {
      await addToInbox(database, APPLICATION, [{ id: randomUUID(), content: JSON.stringify(handedOver) }], at)
    } catch (cause) {
      error.message += `; and its retry could not be stored, since the database cannot be used: ${inWords(cause)}`
      error.cause = new TrackError('EHANDOVER', 'the refused message could not be handed over to softbounce', { cause })
      return { kind: 'refused', envelope, error }
    }
    const workflowId = retry.workflowIds.workflowId(recipient, messageId)
    const retryAt = new Date(at.getTime() + firstDelayMs).toISOString()
    return { kind: 'pending', envelope, reply: refusal.reply, retry: { recipient, workflowId, retryAt } }
  }

  /** Stores the provider's message ID: best effort, since the message is on its way. */
  async #recordProviderId(database: Database, id: string, info: Info): Promise<void> {
    const { provider } = this.context
    const name = provider === null ? null : providerIdIn(provider, String(info.response ?? ''))
    if (provider === null || name === null) return
    await recordProviderId(database.db, provider, name, { sentId: id, send: 0 }, new Date()).catch(() => {})
  }
}

/** The address in envelope form. @throws TrackError with code EENVELOPE if it is no address. */
function addressed(address: string): string {
  try {
    return envelopeAddress(parseAddress(address))
  } catch (cause) {
    throw new TrackError('EENVELOPE', (cause as Error).message, { cause })
  }
}

/** @throws TrackError with code EDATABASE, if the database cannot be used. */
async function reaching<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    if (cause instanceof SuppressedRecipients) throw cause
    throw new TrackError('EDATABASE', `the message was not sent, since softbounce's database cannot be used: ${inWords(cause)}`, {
      cause,
    })
  }
}

/** @returns the addresses whose suppression the message lifts. @throws SuppressedRecipients for the others. */
async function checkSuppressions(database: Database, keys: readonly string[], askedFor: boolean, now: Date): Promise<string[]> {
  const suppressed = await activeSuppressions(database, keys, now)
  const lifted = askedFor ? suppressed.filter((s) => s.reason === 'unavailable') : []
  const standing = suppressed.filter((s) => !lifted.includes(s))
  if (standing.length > 0) throw new SuppressedRecipients(standing)
  return lifted.map(({ address }) => address)
}

async function lift(database: Database, addresses: readonly string[], now: Date): Promise<void> {
  for (const address of addresses)
    await database.db.transaction().execute((tx) => liftSuppression(tx, address, 'asked for', now, 'temporary'))
}

/** @throws TrackError with code EOPTIONS for options that would make the retries fail, before anything is sent. */
function checkOptions(options: Omit<TrackedOptions, 'askedFor'>, of: { messageId: string; sender: string; recipient: string }): void {
  const bounce = { status: '4.3.2', bouncedAt: new Date().toISOString() }
  const checked = checkBouncedMessage({ ...of, ...options, message: { stored: 'x' }, bounce })
  if ('faults' in checked) throw new TrackError('EOPTIONS', `softbounce: ${checked.faults.join('; ')}`)
}

async function contentOf(mail: MailMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  const stream = mail.message.createReadStream()
  const ended = once(stream, 'end')
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await ended
  return Buffer.concat(chunks)
}

/** The same message for the inner transport, with another envelope and the given content. */
function withContent(mail: MailMessage, envelope: { to: string[] }, content: Buffer): MailMessage {
  const message = Object.assign(Object.create(mail.message), {
    getEnvelope: () => ({ ...envelope, to: [...envelope.to] }),
    createReadStream: () => Readable.from([content], { objectMode: false }),
  })
  return Object.assign(Object.create(mail), { message, data: mail.data }) as MailMessage
}
