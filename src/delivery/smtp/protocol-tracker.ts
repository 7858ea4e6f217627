/**
 * Tracks an SMTP session through nodemailer's transaction log: which command each reply answers, even with pipelining (RFC 2920), whether
 * the final dot has been sent, and that no step exceeds its timeout.
 */
import { parseReply, type SmtpReply, type Stage } from '../../bounce/index.js'
import type { SmtpTimeouts } from './timeouts.js'

export class ProtocolTracker {
  /** Commands whose replies are awaited, oldest first. */
  readonly #awaited: Stage[] = ['banner']
  readonly #replies: { readonly at: Stage; readonly reply: SmtpReply }[] = []
  #timer: NodeJS.Timeout | undefined
  #contentBegun = false

  /** The step whose reply is awaited. */
  current: Stage = 'connect'
  /** The last reply to EHLO. */
  ehlo = ''
  /** This process stalled past a step's timeout and has received nothing since: not the server's fault. */
  heldUp = false
  /** The whole message was handed to the connection: from here on it may arrive. */
  finalDotSent = false

  /** @param onTimeout called when a step times out. */
  constructor(
    private readonly timeouts: SmtpTimeouts,
    private readonly onTimeout: (ms: number) => void,
  ) {}

  start(): void {
    this.#enter('connect', this.timeouts.connectMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Prepares for another transaction on the open session. */
  again(): void {
    this.#replies.length = 0
    this.#awaited.length = 0
    this.#contentBegun = false
    this.finalDotSent = false
    this.heldUp = false
    this.current = 'MAIL'
  }

  /** The next block of the content is about to be sent. */
  block(): void {
    this.#contentBegun = true
    this.#enter('DATA', this.timeouts.blockMs)
  }

  /** The last reply. */
  get last(): { readonly at: Stage; readonly reply: SmtpReply } | undefined {
    return this.#replies.at(-1)
  }

  /** The step that a reply answered. */
  stepOf(text: string): Stage {
    return this.#replies.find(({ reply }) => reply.text === text)?.at ?? this.current
  }

  /** For nodemailer's option `logger`. */
  readonly logger = (() => {
    const follow = (entry: unknown, text?: unknown) => this.#follow((entry ?? {}) as { tnx?: string }, String(text))
    return { level: () => {}, trace: follow, debug: follow, info: follow, warn: follow, error: follow, fatal: follow }
  })()

  #follow({ tnx }: { tnx?: string }, text: string): void {
    if (tnx === 'client') this.#said(text)
    else if (tnx === 'server') this.#heard(text)
    else if (tnx === 'message' && this.#contentBegun) {
      this.finalDotSent = true
      this.#enter('final dot', this.timeouts.finalDotMs)
    } else if (tnx === 'network' && this.current === 'connect' && text.includes('established'))
      this.#enter('banner', this.timeouts.bannerMs)
  }

  #said(command: string): void {
    const verb = command.slice(0, 8).toUpperCase()
    if (verb.startsWith('QUIT')) {
      this.stop()
      return
    }
    // any other line belongs to AUTH
    const [, step] = VERBS.find(([start]) => verb.startsWith(start)) ?? ['', 'AUTH' as const]
    this.#awaited.push(step)
    if (this.#awaited.length === 1) this.#enter(step, this.#timeOf(step))
  }

  #heard(text: string): void {
    const at = this.#awaited.shift() ?? (this.finalDotSent ? 'final dot' : this.#contentBegun ? 'DATA' : this.current)
    this.#replies.push({ at, reply: parseReply(text) })
    this.heldUp = false
    if (at === 'EHLO') this.ehlo = text
    const next = this.#awaited[0]
    if (next !== undefined) this.#enter(next, this.#timeOf(next))
    // the TLS handshake follows
    else if (at === 'STARTTLS') this.#enter('STARTTLS', this.timeouts.greetingMs)
  }

  #timeOf(step: Stage): number {
    if (step === 'MAIL') return this.timeouts.mailMs
    if (step === 'RCPT') return this.timeouts.rcptMs
    return step === 'DATA' ? this.timeouts.dataMs : this.timeouts.greetingMs
  }

  #enter(step: Stage, ms: number): void {
    this.current = step
    clearTimeout(this.#timer)
    const due = Date.now() + ms
    this.#timer = setTimeout(() => {
      // timers run before sockets are read: first read what arrived while this process stalled, however briefly
      this.heldUp = Date.now() - due >= LATE_MS
      this.#timer = setTimeout(() => this.onTimeout(ms), this.heldUp ? GRACE_MS : READ_MS)
    }, ms)
  }
}

/** A timer that fires this late means that the process was frozen or blocked. */
const LATE_MS = 1500
const GRACE_MS = 1000
const READ_MS = 50

const VERBS: readonly (readonly [string, Stage])[] = [
  ['EHLO', 'EHLO'],
  ['HELO', 'EHLO'],
  ['STARTTLS', 'STARTTLS'],
  ['RSET', 'MAIL'],
  ['MAIL FRO', 'MAIL'],
  ['RCPT TO', 'RCPT'],
  ['DATA', 'DATA'],
]
