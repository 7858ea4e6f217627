/** Makes pages of the live report in a thread, which starts with the first page and ends when nobody has asked for a while. */
import { Worker } from 'node:worker_threads'
import type { PageRequest } from './live-page.js'
import type { ThreadAnswer, ThreadData } from './report-thread.js'

/** A thread without a request for this long ends: it holds a connection and some memory. */
const IDLE_MS = 5 * 60_000
/** A page that takes longer is given up, with its thread. */
const WITHIN_MS = 60_000

interface Pending {
  readonly resolve: (page: string) => void
  readonly reject: (error: Error) => void
}

/** One page at a time. */
export class ReportInThread {
  #thread: Worker | null = null
  #pending: Pending | null = null
  #idle: NodeJS.Timeout | undefined

  constructor(private readonly data: ThreadData) {}

  /** @throws Error if it cannot be made, or takes too long. */
  make(request: PageRequest): Promise<string> {
    clearTimeout(this.#idle)
    const thread = this.#thread ?? this.#start()
    const late = setTimeout(
      () => this.#end(thread, new Error(`the report took longer than ${WITHIN_MS / 1000} s; ask for a shorter time`)),
      WITHIN_MS,
    )
    return new Promise<string>((resolve, reject) => {
      this.#pending = { resolve, reject }
      thread.postMessage(request)
    }).finally(() => {
      clearTimeout(late)
      this.#pending = null
      this.#idle = setTimeout(() => this.#end(thread, new Error('nobody asked')), IDLE_MS).unref()
    })
  }

  /** Gives up what is being made. */
  close(): void {
    if (this.#thread !== null) this.#end(this.#thread, new Error('the worker is stopping'))
    clearTimeout(this.#idle)
  }

  #start(): Worker {
    const thread = new Worker(new URL('./report-thread.js', import.meta.url), { workerData: this.data })
    thread.on('message', (answer: ThreadAnswer) => {
      if (thread !== this.#thread) return
      if ('page' in answer) this.#pending?.resolve(answer.page)
      else this.#pending?.reject(new Error(answer.error))
    })
    thread.on('error', (error: Error) => this.#end(thread, error))
    thread.on('exit', () => this.#end(thread, new Error('the thread that makes the report has ended')))
    // a stopping worker does not wait for it
    thread.unref()
    this.#thread = thread
    return thread
  }

  #end(thread: Worker, why: Error): void {
    if (thread !== this.#thread) return
    this.#thread = null
    void thread.terminate()
    this.#pending?.reject(why)
  }
}
