/**
 * One SMTP session with one host, over nodemailer's connection: several transactions, one recipient each. It says what happened in each
 * dialogue and where; what that means is judged in outcome.ts. Nodemailer names no step for many of its errors, so protocol-tracker.ts follows them.
 */
import { Readable } from 'node:stream'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { isInternational, type Stage } from '../../bounce/index.js'
import { type NextHop, nameOf } from '../next-hop.js'
import { missingExtension } from './missing-extension.js'
import { ProtocolTracker } from './protocol-tracker.js'
import { failureOf, type SmtpError } from './transaction-failure.js'
import {
  BLOCK_BYTES,
  type Mail,
  mustBeVerified,
  NONE,
  type SessionOptions,
  type SessionResult,
  type TransactionResult,
  wasLeft,
} from './transaction-result.js'

const QUIT_MS = 2000
/** How far nodemailer's own timers lie beyond ours. */
const BEYOND_MS = 60_000

const lostBefore = (mailServer: string): TransactionResult => ({
  ...{ kind: 'lost', at: 'MAIL', afterFinalDot: false, text: `host ${mailServer} had closed the idle session`, mailServer },
})

/** The server did not end the transaction that it had refused: that says nothing about the next message. */
const RESET_FAILED = 'ERESET'
/** From 354 on, the server reads content. */
const BEFORE_OR_AFTER_CONTENT: readonly Stage[] = ['MAIL', 'RCPT', 'final dot']

/** Runs transactions one after another. None of them rejects: every failure is a TransactionResult. */
export class SmtpSession {
  readonly #path: NextHop
  readonly #connection: SMTPConnection
  readonly #steps: ProtocolTracker
  readonly #mailServer: string
  #mail: Mail = NONE
  #eightBit = false
  #sent = 0
  #stopped = false
  /** Since when the server waits for the content, and we for leave to send it, ms; null if we do not. */
  #askingSince: number | null = null
  #fail: (error: SmtpError) => void = () => {}

  #isOpen = false
  #wasOpened = false
  /** The last transaction was refused, and is still open. */
  #mustReset = false

  /** @param how `plain`: without TLS, even if it is offered. */
  constructor({ path, ehloDomain, timeouts }: SessionOptions, how: { readonly plain: boolean } = { plain: path.tls === 'off' }) {
    this.#path = path
    this.#mailServer = nameOf(path)
    this.#steps = new ProtocolTracker(timeouts, (ms) => {
      this.#fail(Object.assign(new Error(`nothing came within ${ms / 1000} s`), { code: 'ETIMEDOUT' }))
    })
    const verified = path.tls === 'verify' || path.tls === 'implicit'
    this.#connection = new SMTPConnection({
      host: path.host,
      port: path.port,
      name: ehloDomain,
      secure: path.tls === 'implicit',
      requireTLS: mustBeVerified(path),
      opportunisticTLS: path.tls === 'opportunistic',
      ignoreTLS: how.plain,
      tls: { rejectUnauthorized: verified, ...(path.ca === undefined ? {} : { ca: path.ca }) },
      ...(path.servername === undefined ? {} : { servername: path.servername }),
      ...(path.localAddress === undefined ? {} : { localAddress: path.localAddress }),
      // each step has its own timer; nodemailer's are set beyond them
      connectionTimeout: timeouts.connectMs + timeouts.bannerMs + timeouts.greetingMs + BEYOND_MS,
      greetingTimeout: timeouts.bannerMs + timeouts.greetingMs + BEYOND_MS,
      socketTimeout: Math.max(...Object.values(timeouts)) + BEYOND_MS,
      // distinguishes a silent resolver from a silent host
      dnsTimeout: Math.ceil(timeouts.connectMs / 2),
      transactionLog: true,
      logger: this.#steps.logger,
    })
  }

  /** True while it can run another transaction. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** How many messages the server has accepted or refused in this session. */
  get sent(): number {
    return this.#sent
  }

  /** Runs one transaction, and connects before the first. Never rejects. */
  async send(mail: Mail): Promise<SessionResult> {
    const { signal } = mail
    this.#mail = mail
    this.#eightBit = mail.content.some((byte) => byte > 127)
    const isFirst = !this.#wasOpened
    // closed by the server since it was idle: nothing was sent of this message
    if (!isFirst && !this.#isOpen) return { result: lostBefore(this.#mailServer), connection: 'stale' }
    this.#wasOpened = true
    this.#isOpen = false
    if (!isFirst) this.#steps.again()
    const stop = () => {
      if (this.#steps.finalDotSent) return
      this.#stopped = true
      this.#fail(new Error('stopped'))
    }
    signal?.addEventListener('abort', stop, { once: true })
    try {
      if (signal?.aborted) {
        this.close()
        return { result: { kind: 'stopped', mailServer: this.#mailServer }, connection: 'closed' }
      }
      await this.#converse(isFirst)
      const result = this.#answered()
      if (result.kind !== 'reply') {
        this.close()
        return { result, connection: 'closed' }
      }
      this.#isOpen = true
      this.#sent += 1
      return { result, connection: 'open' }
    } catch (error) {
      const result = failureOf(error as SmtpError, {
        ...{ path: this.#path, mailServer: this.#mailServer, steps: this.#steps },
        ...{ stopped: this.#stopped, askingSince: this.#askingSince },
      })
      if (this.#goesOn(result, error as SmtpError)) {
        this.#isOpen = true
        this.#mustReset = true
        this.#sent += 1
        return { result, connection: 'open' }
      }
      this.close()
      return { result, connection: this.#closedHow(error as SmtpError, result, isFirst) }
    } finally {
      this.#steps.stop()
      this.#fail = () => {
        this.#isOpen = false
      }
      signal?.removeEventListener('abort', stop)
    }
  }

  /** A refusal of this message leaves the session as it was, except 421: then the server closes it (RFC 5321 section 3.8). */
  #goesOn(result: TransactionResult, { code }: SmtpError): boolean {
    if (result.kind !== 'reply' || result.reply.code === 421 || code === RESET_FAILED || this.#socket?.destroyed !== false) return false
    return BEFORE_OR_AFTER_CONTENT.includes(result.at)
  }

  #closedHow({ code }: SmtpError, result: TransactionResult, isFirst: boolean): SessionResult['connection'] {
    if (code === RESET_FAILED) return 'stale'
    if (isFirst) return !this.#stopped && (code === 'ETLS' || this.#steps.current === 'STARTTLS') ? 'tls-failed' : 'closed'
    return wasLeft(result, this.#steps.last === undefined) ? 'stale' : 'closed'
  }

  /** Says QUIT, and closes when that is answered, or after a moment. Resolves when the connection is gone. */
  end(): Promise<void> {
    this.#isOpen = false
    const socket = this.#socket
    if (socket === null || socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      const late = setTimeout(() => this.close(), QUIT_MS)
      socket.once('close', () => {
        clearTimeout(late)
        resolve()
      })
      this.#connection.quit()
    })
  }

  /** Closes at once. */
  close(): void {
    this.#isOpen = false
    const socket = this.#socket
    this.#connection.close()
    socket?.destroy()
  }

  get #socket(): TLSSocket | null {
    return (this.#connection as unknown as { _socket: TLSSocket | false | null })._socket || null
  }

  /** The dialogue itself; rejects with nodemailer's error, or that of a step's timer. */
  #converse(isFirst: boolean): Promise<void> {
    const { credentials } = this.#path
    return new Promise((resolve, reject) => {
      this.#fail = reject
      if (!isFirst) {
        if (!this.#mustReset) return this.#send(resolve, reject)
        this.#mustReset = false
        // only now: the answer to the refused message does not wait for it
        return this.#connection.reset((error) => {
          if (error) return reject(Object.assign(error, { code: RESET_FAILED }))
          // the reply to RSET is none to the message
          this.#steps.again()
          this.#send(resolve, reject)
        })
      }
      const connection = this.#connection
      connection.on('error', (error) => this.#fail(error as SmtpError))
      // where the server went away with a reply (421), that error comes right behind the end
      connection.on('end', () => setImmediate(() => this.#fail(new Error('the connection was closed'))))
      this.#steps.start()
      connection.connect((error) => {
        const untrusted = error ? null : this.#untrustedPeer()
        if (error) reject(error)
        else if (untrusted !== null) reject(Object.assign(new Error(untrusted), { code: 'ETLS' }))
        else if (credentials === undefined) this.#send(resolve, reject)
        else connection.login({ ...credentials }, (failed) => (failed ? reject(failed) : this.#send(resolve, reject)))
      })
    })
  }

  /** What is wrong with the certificate that was shown, if it is checked here (DANE); else null. */
  #untrustedPeer(): string | null {
    const { checkPeer } = this.#path
    if (checkPeer === undefined) return null
    return checkPeer((this.#socket?.getPeerCertificate?.(true) ?? {}) as DetailedPeerCertificate)
  }

  #send(resolve: () => void, reject: (error: Error) => void): void {
    const { sender, recipient, content, envid } = this.#mail
    const missing = missingExtension(this.#mail, this.#eightBit, this.#steps.ehlo, this.#mailServer)
    if (missing !== null) {
      reject(Object.assign(new Error(missing.text), { status: missing.status }))
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
    const { content, beforeContent } = this.#mail
    // however long we take to answer this ourselves, the server is not to blame for it
    this.#steps.stop()
    this.#askingSince = Date.now()
    if (!(await beforeContent()) || this.#stopped) {
      this.#stopped = true
      throw new Error('stopped')
    }
    this.#askingSince = null
    for (let at = 0; at < content.length; at += BLOCK_BYTES) {
      this.#steps.block()
      yield content.subarray(at, at + BLOCK_BYTES)
    }
  }

  #answered(): TransactionResult {
    const { last, finalDotSent } = this.#steps
    // a 2xx before the final dot was out answers nothing that was asked
    if (last?.at !== 'final dot' || !finalDotSent)
      return { kind: 'lost', at: 'DATA', afterFinalDot: false, text: 'the server answered out of turn', mailServer: this.#mailServer }
    return { kind: 'reply', at: 'final dot', reply: last.reply, mailServer: this.#mailServer }
  }
}
