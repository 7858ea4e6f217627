/**
 * One SMTP session with one host, over nodemailer's connection: several transactions, one recipient each. It says what happened in each
 * dialogue and where; what that means is judged in outcome.ts. Nodemailer names no step for many of its errors, so protocol-tracker.ts follows them.
 */
import { Readable } from 'node:stream'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { isInternational, parseReply, type Stage } from '../../bounce/index.js'
import { lacksFamilyOf } from '../local-address-families.js'
import { type NextHop, nameOf } from '../next-hop.js'
import { missingExtension } from './missing-extension.js'
import { ProtocolTracker } from './protocol-tracker.js'
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
/** However impatient a server is, it waits for so long after 354 (RFC 5321 section 4.5.3.2.5 asks for minutes). */
const MAX_CLAIM_WAIT_MS = 2000
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
    const isFirst = !this.#isOpen
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
      this.close()
      const result = this.#failed(error as SmtpError)
      return { result, connection: this.#closedHow(error as SmtpError, result, isFirst) }
    } finally {
      this.#steps.stop()
      this.#fail = () => {
        this.#isOpen = false
      }
      signal?.removeEventListener('abort', stop)
    }
  }

  #closedHow({ code }: SmtpError, result: TransactionResult, isFirst: boolean): SessionResult['connection'] {
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
        this.#send(resolve, reject)
        return
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

  #failed(error: SmtpError & { status?: string }): TransactionResult {
    const mailServer = this.#mailServer
    const at = this.#steps.current
    // a server that lost its patience with us is not to blame; one that closed at once, or refused, has answered
    const weWereSlow = this.#askingSince !== null && Date.now() - this.#askingSince > MAX_CLAIM_WAIT_MS
    if (this.#stopped || weWereSlow) return { kind: 'stopped', mailServer }
    if (error.status !== undefined) return { kind: 'unsupported', status: error.status, text: error.message, mailServer }
    if (at === 'STARTTLS' && mustBeVerified(this.#path)) return this.#policy(at, error.message)
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
        text: `host ${mailServer}: connection lost after the final dot (${detail})`,
        mailServer,
      }
    const code = error.originalCode ?? error.code ?? ''
    if (this.#steps.heldUp)
      return { kind: 'local', text: `this worker stood still while ${mailServer} was waited for at ${at}`, mailServer }
    if (at === 'connect') return this.#notConnected(code, detail)
    if (this.#path.tls !== 'opportunistic' && (error.code === 'ETLS' || /certificate|self.signed|CERT_|altname/i.test(`${code} ${detail}`)))
      return this.#policy(at, error.message)
    const how = code === 'ETIMEDOUT' ? 'no answer in time' : 'connection lost'
    return { kind: 'lost', at, afterFinalDot: false, text: `host ${mailServer}: ${how} at ${at} (${detail})`, mailServer }
  }

  #policy(at: Stage, text: string): TransactionResult {
    const detail = text.replace(/\s+/g, ' ').slice(0, 300)
    return {
      kind: 'policy',
      at,
      text: `TLS with ${this.#mailServer} could not be verified or set up: ${detail}`,
      mailServer: this.#mailServer,
    }
  }

  #notConnected(code: string, detail: string): TransactionResult {
    const mailServer = this.#mailServer
    if (code === 'ECONNREFUSED') return { kind: 'refused', text: `host ${mailServer} refused the connection`, mailServer }
    if (lacksFamilyOf(this.#path.host))
      return {
        kind: 'local',
        noRoute: true,
        text: `${mailServer} cannot be reached from here: this machine has no IPv6 address`,
        mailServer,
      }
    if (UNREACHABLE.has(code)) return { kind: 'unreachable', text: `host ${mailServer} did not answer (${detail})`, mailServer }
    if (BROKEN.has(code))
      return { kind: 'lost', at: 'connect', afterFinalDot: false, text: `host ${mailServer} closed the connection (${detail})`, mailServer }
    return { kind: 'local', text: `${mailServer} cannot be reached from here: ${detail}`, mailServer }
  }
}
