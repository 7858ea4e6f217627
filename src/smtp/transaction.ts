/**
 * One SMTP transaction for one recipient, over nodemailer's connection. It says what happened in the dialogue and where; what that means
 * is judged in outcome.ts. Nodemailer names no step for many of its errors, so steps.ts follows them.
 */
import { Readable } from 'node:stream'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { isInternational, parseReply, type SmtpReply, type Stage } from '../bounce/index.js'
import { nameOf, type Path } from './path.js'
import { Steps } from './steps.js'
import type { SmtpTimeouts } from './timeouts.js'

/** What is to be sent, and how. */
export interface Transaction {
  readonly path: Path
  /** Name in EHLO. */
  readonly ehloName: string
  readonly timeouts: SmtpTimeouts
  /** Envelope sender and recipient: domains in A-labels. */
  readonly sender: string
  readonly recipient: string
  /** The message in canonical form (store/canonical-message.ts). */
  readonly content: Buffer
  /** Ask for notifications where the server offers DSN (RFC 3461), with this envelope identifier. */
  readonly envid?: string
  /** Asked when the server waits for the content; false stops the transaction before anything is sent. */
  readonly beforeContent: () => Promise<boolean>
  /** Stops the transaction, unless the final dot is out: then the reply is awaited. */
  readonly signal?: AbortSignal
}

/** What happened. `at` is the step that was waited for; `mailServer` who was asked. */
export type Dialogue = { readonly mailServer: string } & (
  | { readonly kind: 'reply'; readonly at: Stage; readonly reply: SmtpReply }
  /** Closed, broken, or silent beyond the step's time. */
  | { readonly kind: 'lost'; readonly at: Stage; readonly afterFinalDot: boolean; readonly text: string }
  /** Nobody answered the connection in time, or a router said that the host is out of reach. */
  | { readonly kind: 'unreachable'; readonly text: string }
  /** The host refused the connection. */
  | { readonly kind: 'refused'; readonly text: string }
  /** No way out on our own side: name resolution, route, sockets, TLS verification. */
  | { readonly kind: 'local'; readonly text: string }
  /** The server lacks what this message needs. */
  | { readonly kind: 'unsupported'; readonly status: string; readonly text: string }
  /** Stopped by us, before the final dot. */
  | { readonly kind: 'stopped' }
)

export const BLOCK_BYTES = 64 * 1024
const QUIT_MS = 5000
/** How far nodemailer's own timers lie beyond ours. */
const BEYOND_MS = 60_000
/** Errors of connecting that the other side, or the way to it, causes. */
const UNREACHABLE = new Set(['EHOSTUNREACH', 'EHOSTDOWN', 'ETIMEDOUT'])
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])

interface SmtpError extends Error {
  code?: string
  originalCode?: string
  response?: string
}

/** Runs the transaction. Never rejects: whatever happens is a Dialogue. */
export async function transact(transaction: Transaction): Promise<Dialogue> {
  const first = await new Attempt(transaction, transaction.path.tls === 'off').run()
  // opportunistic TLS that fails is no reason not to send (RFC 7435): once more in clear
  if (first.tlsFailed && transaction.path.tls === 'opportunistic') return (await new Attempt(transaction, true).run()).dialogue
  return first.dialogue
}

class Attempt {
  readonly #transaction: Transaction
  readonly #connection: SMTPConnection
  readonly #steps: Steps
  readonly #mailServer: string
  readonly #eightBit: boolean
  #stopped = false
  /** The server waits for the content, and we for leave to send it. */
  #asking = false
  #fail: (error: SmtpError) => void = () => {}

  constructor(transaction: Transaction, plain: boolean) {
    const { path, timeouts } = transaction
    this.#transaction = transaction
    this.#mailServer = nameOf(path)
    this.#eightBit = transaction.content.some((byte) => byte > 127)
    this.#steps = new Steps(timeouts, (ms) => {
      this.#fail(Object.assign(new Error(`nothing came within ${ms / 1000} s`), { code: 'ETIMEDOUT' }))
    })
    const verified = path.tls === 'verify' || path.tls === 'implicit'
    this.#connection = new SMTPConnection({
      host: path.host,
      port: path.port,
      name: transaction.ehloName,
      secure: path.tls === 'implicit',
      requireTLS: path.tls === 'verify',
      opportunisticTLS: path.tls === 'opportunistic',
      ignoreTLS: plain,
      tls: { rejectUnauthorized: verified, ...(path.ca === undefined ? {} : { ca: path.ca }) },
      // each step has its own timer; nodemailer's are set beyond them
      connectionTimeout: timeouts.connectMs + timeouts.bannerMs + timeouts.greetingMs + BEYOND_MS,
      greetingTimeout: timeouts.bannerMs + timeouts.greetingMs + BEYOND_MS,
      socketTimeout: Math.max(...Object.values(timeouts)) + BEYOND_MS,
      // a resolver that is silent is told from a host that is
      dnsTimeout: Math.ceil(timeouts.connectMs / 2),
      transactionLog: true,
      logger: this.#steps.logger,
    })
  }

  async run(): Promise<{ dialogue: Dialogue; tlsFailed: boolean }> {
    const { signal } = this.#transaction
    const stop = () => {
      if (this.#steps.finalDotSent) return
      this.#stopped = true
      this.#fail(new Error('stopped'))
    }
    signal?.addEventListener('abort', stop, { once: true })
    try {
      if (signal?.aborted) return { dialogue: { kind: 'stopped', mailServer: this.#mailServer }, tlsFailed: false }
      await this.#converse()
      this.#connection.quit()
      setTimeout(() => this.#connection.close(), QUIT_MS).unref()
      return { dialogue: this.#answered(), tlsFailed: false }
    } catch (error) {
      this.#connection.close()
      const tlsFailed = !this.#stopped && ((error as SmtpError).code === 'ETLS' || this.#steps.current === 'STARTTLS')
      return { dialogue: this.#failed(error as SmtpError), tlsFailed }
    } finally {
      this.#steps.stop()
      signal?.removeEventListener('abort', stop)
    }
  }

  /** The dialogue itself; rejects with nodemailer's error, or that of a step's timer. */
  #converse(): Promise<void> {
    const { credentials } = this.#transaction.path
    return new Promise((resolve, reject) => {
      this.#fail = reject
      const connection = this.#connection
      connection.on('error', reject)
      // where the server went away with a reply (421), that error comes right behind the end
      connection.on('end', () => setImmediate(() => reject(new Error('the connection was closed'))))
      this.#steps.start()
      connection.connect((error) => {
        if (error) reject(error)
        else if (credentials === undefined) this.#send(resolve, reject)
        else connection.login({ ...credentials }, (failed) => (failed ? reject(failed) : this.#send(resolve, reject)))
      })
    })
  }

  #send(resolve: () => void, reject: (error: Error) => void): void {
    const { sender, recipient, content, envid } = this.#transaction
    const lacking = this.#lacking()
    if (lacking !== null) {
      reject(lacking)
      return
    }
    const notify = {
      ret: 'HDRS',
      envid: envid ?? null,
      notify: ['SUCCESS', 'FAILURE', 'DELAY'],
      ...(isInternational(recipient) ? {} : { orcpt: `rfc822;${recipient}` }),
    }
    this.#connection.send(
      { from: sender, to: [recipient], size: content.length, use8BitMime: this.#eightBit, ...(envid === undefined ? {} : { dsn: notify }) },
      Readable.from(this.#content(), { highWaterMark: 1 }),
      (error) => (error ? reject(error) : resolve()),
    )
  }

  async *#content(): AsyncGenerator<Buffer> {
    const { content, beforeContent } = this.#transaction
    // however long we take to answer this ourselves, the server is not to blame for it
    this.#steps.stop()
    this.#asking = true
    if (!(await beforeContent()) || this.#stopped) {
      this.#stopped = true
      throw new Error('stopped')
    }
    this.#asking = false
    for (let at = 0; at < content.length; at += BLOCK_BYTES) {
      this.#steps.block()
      yield content.subarray(at, at + BLOCK_BYTES)
    }
  }

  /** What this message needs and the server does not offer, as an error that carries the status. */
  #lacking(): (SmtpError & { status: string }) | null {
    const { sender, recipient, content } = this.#transaction
    const offers = (keyword: string) => new RegExp(`^250[ -]${keyword}(?:[ =]|$)`, 'im').test(this.#steps.ehlo)
    const lack = (status: string, text: string) => Object.assign(new Error(text), { status })
    if ((isInternational(sender) || isInternational(recipient)) && !offers('SMTPUTF8'))
      return lack('5.6.7', `${this.#mailServer} does not offer SMTPUTF8, which these addresses need (RFC 6531)`)
    if (this.#eightBit && !offers('8BITMIME'))
      return lack('5.6.3', `${this.#mailServer} does not offer 8BITMIME, which this message needs (RFC 6152)`)
    const limit = Number(/^250[ -]SIZE[ \t]+(\d{1,15})/im.exec(this.#steps.ehlo)?.[1] ?? 0)
    if (limit > 0 && content.length > limit)
      return lack('5.3.4', `${this.#mailServer} takes messages of up to ${limit} bytes; this one has ${content.length} (RFC 1870)`)
    return null
  }

  #answered(): Dialogue {
    const { last, finalDotSent } = this.#steps
    // a 2xx before the final dot was out answers nothing that was asked
    if (last?.at !== 'final dot' || !finalDotSent)
      return { kind: 'lost', at: 'DATA', afterFinalDot: false, text: 'the server answered out of turn', mailServer: this.#mailServer }
    return { kind: 'reply', at: 'final dot', reply: last.reply, mailServer: this.#mailServer }
  }

  #failed(error: SmtpError & { status?: string }): Dialogue {
    const mailServer = this.#mailServer
    const at = this.#steps.current
    if (this.#stopped || this.#asking) return { kind: 'stopped', mailServer }
    if (error.status !== undefined) return { kind: 'unsupported', status: error.status, text: error.message, mailServer }
    if (typeof error.response === 'string') {
      const reply = parseReply(error.response)
      if (reply.code >= 400) return { kind: 'reply', at: this.#steps.stepOf(error.response), reply, mailServer }
    }
    const detail = error.message.replace(/\s+/g, ' ').slice(0, 300)
    if (this.#steps.finalDotSent)
      return {
        kind: 'lost',
        at: 'final dot',
        afterFinalDot: true,
        text: `${mailServer}: connection lost after the final dot (${detail})`,
        mailServer,
      }
    const code = error.originalCode ?? error.code ?? ''
    if (this.#steps.heldUp)
      return { kind: 'local', text: `this worker stood still while ${mailServer} was waited for at ${at}`, mailServer }
    if (at === 'connect') return this.#notConnected(code, detail)
    const verified = this.#transaction.path.tls !== 'opportunistic'
    if (verified && (error.code === 'ETLS' || /certificate|self.signed|CERT_|altname/i.test(`${code} ${detail}`)))
      return { kind: 'local', text: `TLS with ${mailServer} could not be verified or set up: ${detail}`, mailServer }
    const how = code === 'ETIMEDOUT' ? 'no answer in time' : 'connection lost'
    return { kind: 'lost', at, afterFinalDot: false, text: `${mailServer}: ${how} at ${at} (${detail})`, mailServer }
  }

  #notConnected(code: string, detail: string): Dialogue {
    const mailServer = this.#mailServer
    if (code === 'ECONNREFUSED') return { kind: 'refused', text: `${mailServer} refused the connection`, mailServer }
    if (UNREACHABLE.has(code)) return { kind: 'unreachable', text: `${mailServer} did not answer (${detail})`, mailServer }
    if (BROKEN.has(code))
      return { kind: 'lost', at: 'connect', afterFinalDot: false, text: `${mailServer} closed the connection (${detail})`, mailServer }
    return { kind: 'local', text: `${mailServer} cannot be reached from here: ${detail}`, mailServer }
  }
}
