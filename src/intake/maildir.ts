/**
 * The Maildir intake: a file moves from new/ to cur/ once it is processed. One that cannot be processed now stays in new/, and is
 * retried.
 */
import { type FSWatcher, watch } from 'node:fs'
import { lstat, mkdir, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { backoff } from '../backoff.js'
import { type Fields, headOf } from '../dsn/index.js'
import type { Logger } from '../logger.js'
import { causeOf, logTaken } from './lmtp.js'
import type { MailReceiver } from './receive-mail.js'

/** How often new/ is polled, in addition to file system events. */
const LOOK_EVERY_MS = 10_000
/** A file that failed is retried after this, doubled up to ten minutes. An empty one may still be being written. */
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 10 * 60_000

export interface MaildirWatch {
  /** Stops watching, and finishes the current file. */
  close(): Promise<void>
}

/**
 * Watches a Maildir.
 * @throws Error if it has no new/ that can be read.
 */
export async function watchMaildir(
  intake: MailReceiver,
  path: string,
  maxBytes: number,
  logger: Logger,
  lookEveryMs = LOOK_EVERY_MS,
): Promise<MaildirWatch> {
  const fresh = join(path, 'new')
  await readdir(fresh).catch((error: Error) => {
    throw new Error(`${path} is no Maildir that can be read: ${error.message}`)
  })
  await mkdir(join(path, 'cur'), { recursive: true })
  const watching = new Watch(intake, path, maxBytes, logger)
  let watcher: FSWatcher | null = null
  try {
    watcher = watch(fresh, () => watching.look())
    // polling continues without file system events
    watcher.on('error', (error) =>
      logger.warn({ error: error.message, path }, 'the file system does not report new mail in the Maildir; it is polled'),
    )
  } catch (error) {
    logger.warn({ error: (error as Error).message, path }, 'the file system does not report new mail in the Maildir; it is polled')
  }
  const timer = setInterval(() => watching.look(), lookEveryMs)
  watching.look()
  return {
    close: async () => {
      watcher?.close()
      clearInterval(timer)
      await watching.stop()
    },
  }
}

class Watch {
  /** Files that failed: when each is retried (epoch ms). */
  readonly #pauses = new Map<string, { until: number; failures: number }>()
  #running: Promise<void> | null = null
  #again = false
  #stopped = false

  constructor(
    private readonly intake: MailReceiver,
    private readonly path: string,
    private readonly maxBytes: number,
    private readonly logger: Logger,
  ) {}

  look(): void {
    if (this.#stopped) return
    this.#again = true
    this.#running ??= this.#work().finally(() => {
      this.#running = null
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #work(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false
      const names = await readdir(join(this.path, 'new')).catch((error: Error) => {
        this.logger.warn({ error: error.message, path: this.path }, 'the Maildir cannot be read')
        return [] as string[]
      })
      for (const known of this.#pauses.keys()) if (!names.includes(known)) this.#pauses.delete(known)
      for (const name of names.sort()) {
        if (this.#stopped) return
        if (!name.startsWith('.') && (this.#pauses.get(name)?.until ?? 0) <= Date.now()) await this.#take(name)
      }
    }
  }

  async #take(name: string): Promise<void> {
    const file = join(this.path, 'new', name)
    try {
      const { size } = await regularFile(file, this.maxBytes)
      // a program that writes directly into new/ may not have written it yet
      if (size === 0) throw new Error('it is empty as yet')
      const mail = await readFile(file)
      logTaken(
        this.logger,
        await this.intake.take(mail, { recipients: deliveredTo(mail), sender: returnPathOf(mail) }, 'maildir'),
        'maildir',
      )
      await rename(file, join(this.path, 'cur', name.includes(':2,') ? name : `${name}:2,S`))
      this.#pauses.delete(name)
    } catch (error) {
      // another process has moved or deleted it
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      const failures = (this.#pauses.get(name)?.failures ?? 0) + 1
      const ms = backoff(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
      this.#pauses.set(name, { until: Date.now() + ms, failures })
      setTimeout(() => this.look(), ms + 10).unref()
      this.logger.warn({ error: causeOf(error), file }, 'a bounce could not be processed; it stays where it is, and is tried again')
    }
  }
}

/** @throws Error if it is not a regular file, or too large: it stays in new/, and is logged. */
async function regularFile(path: string, maxBytes: number): Promise<{ readonly size: number }> {
  const found = await lstat(path)
  if (!found.isFile()) throw new Error('it is no regular file')
  if (found.size > maxBytes) throw new Error(`it has ${found.size} bytes, more than ${maxBytes} (intake.maxSize)`)
  return found
}

/** Fields in which mail systems write the envelope recipient at delivery. */
const RECIPIENT_FIELDS = ['x-original-to', 'delivered-to', 'envelope-to']

/**
 * The envelope recipients of a delivered mail: from the fields that our mail system put on top, above the first Received field; those
 * below may be forged.
 */
export function deliveredTo(mail: Uint8Array): string[] {
  const top = topOf(mail)
  return RECIPIENT_FIELDS.flatMap((name) => top.all(name)).map((value) => value.replace(/^<|>$/g, ''))
}

/** The envelope sender as the delivering system wrote it on top; null if it did not. */
export function returnPathOf(mail: Uint8Array): string | null {
  return (
    topOf(mail)
      .first('return-path')
      ?.replace(/^\s*<|>\s*$/g, '') ?? null
  )
}

/** The fields above the first Received field; none if there is no such field. */
function topOf(mail: Uint8Array): Fields {
  const head = Buffer.from(mail.buffer, mail.byteOffset, Math.min(mail.byteLength, 64 * 1024)).toString('latin1')
  const received = /^received:/im.exec(head)
  return headOf(Buffer.from(`${received === null ? '' : head.slice(0, received.index)}\n`, 'latin1'))
}
