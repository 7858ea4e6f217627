/** One connection to an IMAP mailbox: opens it, searches it, and waits for new mail. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImapFlow, SearchObject } from 'imapflow'
import type { ImapSettings } from '../config/index.js'
import { causeOf } from './lmtp.js'

/** How the IMAP intake is configured. */
export interface ImapOptions extends ImapSettings {
  readonly maxBytes: number
  /** How long processed bounces are remembered. */
  readonly rememberedForMs: number
  readonly lookEveryMs?: number
}

const POLL_EVERY_MS = 60_000
const STOP_WITHIN_MS = 5000
const LOGOUT_MS = 2000

export class ImapMailbox implements AsyncDisposable {
  readonly #closed = new AbortController()
  #newMail = false
  #error: Error | null = null

  private constructor(
    readonly client: ImapFlow,
    private readonly lastRefusal: LastRefusal,
    private readonly pollEveryMs: number,
    private readonly stopping: AbortSignal,
  ) {
    // without a listener, an error would end the process
    client.on('error', (error: Error) => {
      this.#error = error
    })
    client.on('exists', () => {
      this.#newMail = true
    })
    // some seconds after a stop, close the connection even if a command hangs
    const closeLater = () => setTimeout(() => client.close(), STOP_WITHIN_MS).unref()
    stopping.addEventListener('abort', closeLater, { once: true, signal: this.#closed.signal })
  }

  /** @param stopping some seconds after this signal, the connection is closed even if a command is running. */
  static async open(options: ImapOptions, stopping: AbortSignal): Promise<ImapMailbox> {
    const { host, port, tls, user, password, tokenFile, folder, lookEveryMs = POLL_EVERY_MS } = options
    const { ImapFlow } = await import('imapflow')
    const lastRefusal = new LastRefusal()
    const client = new ImapFlow({
      ...{ host, port, secure: tls === 'implicit', logger: lastRefusal },
      ...(tls === 'implicit' ? {} : { doSTARTTLS: tls === 'starttls' }),
      auth: password === null ? { user, accessToken: (await readFile(tokenFile as string, 'utf8')).trim() } : { user, pass: password },
      maxIdleTime: lookEveryMs,
      disableAutoIdle: true,
    })
    const mailbox = new ImapMailbox(client, lastRefusal, lookEveryMs, stopping)
    try {
      await client.connect()
      await client.mailboxOpen(folder)
      return mailbox
    } catch (error) {
      mailbox.close()
      throw error
    }
  }

  get uidValidity(): string {
    return String(this.#opened.uidValidity)
  }

  get mails(): number {
    return this.#opened.exists
  }

  /** What the server said when it last refused a command; the client's own methods return only false. */
  get refusal(): string {
    return this.lastRefusal.last ?? 'the server refused it'
  }

  /** @throws Error once the connection is gone. */
  assertOpen(): void {
    if (!this.client.usable) throw this.#error ?? new Error('the connection was closed')
  }

  /** The UIDs that match, ascending. */
  async uids(query: SearchObject): Promise<number[]> {
    return ((await this.client.search(query, { uid: true })) || []).sort((a, b) => a - b)
  }

  /** The UIDs in this range, ascending. Servers reverse a range that ends below its start, so UIDs outside it are filtered out. */
  async uidsBetween(first: number, last = Number.POSITIVE_INFINITY): Promise<number[]> {
    const found = await this.uids({ uid: `${first}:${Number.isFinite(last) ? last : '*'}` })
    return found.filter((uid) => uid >= first && uid <= last)
  }

  /** Call before each search: mail announced after this ends the next wait at once. */
  beginLook(): void {
    this.#newMail = false
  }

  /** Waits until the server announces new mail, the next poll is due, the connection ends, or reading stops. */
  async waitForMail(): Promise<void> {
    if (this.#newMail || this.stopping.aborted) return
    const finished = new AbortController()
    const { signal } = finished
    try {
      this.client.idle().catch(() => {})
      await Promise.race([
        once(this.client, 'exists', { signal }),
        once(this.client, 'close', { signal }),
        once(this.stopping, 'abort', { signal }),
        sleep(this.pollEveryMs, undefined, { signal }),
      ])
    } finally {
      finished.abort()
    }
  }

  close(): void {
    this.#closed.abort()
    this.client.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.client.usable) await Promise.race([this.client.logout(), sleep(LOGOUT_MS, undefined, { ref: false })]).catch(() => {})
    this.close()
  }

  get #opened(): { uidValidity: bigint; exists: number } {
    const { mailbox } = this.client
    if (mailbox === false) throw new Error('the connection was closed')
    return mailbox
  }
}

/** The client's log, of which only refusals are of use: it holds mail and logins otherwise. */
class LastRefusal {
  last: string | null = null

  warn({ err }: { readonly err?: { readonly responseText?: string; readonly response?: unknown } }): void {
    const said = err?.responseText ?? err?.response
    if (typeof said === 'string') this.last = said.slice(0, 500)
  }
  debug(): void {}
  info(): void {}
  error(): void {}
}

/** The server's error text, or else the error's message. */
export function imapErrorText(error: unknown): string {
  const { responseText, authenticationFailed } = error as { responseText?: string; authenticationFailed?: boolean }
  const said = responseText ?? causeOf(error)
  return authenticationFailed ? `the login was refused: ${said}` : said
}
