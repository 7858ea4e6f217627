/**
 * The HTTP intake for providers' webhooks: POST /notifications/PROVIDER. 2xx means that a webhook is durably stored; it is processed
 * afterwards, with retries until that succeeds. A wrong signature gets 401; if storing fails, 503 makes the provider send it again.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../logger.js'
import {
  NotAuthentic,
  PROVIDER_NAMES,
  PROVIDERS,
  type Provider,
  type ProviderSecrets,
  SnsSignatures,
  UnreadableWebhook,
  type Verified,
  verifyRequest,
} from '../providers/index.js'
import type { NotServed } from '../report/http-server.js'
import type { Metrics } from '../report/metrics.js'
import { type AddedRows, addAllToInbox, Batcher, type Database, type InboxRow, type NewInboxRow, waitingInInbox } from '../store/index.js'
import { InboxLoop } from './inbox-loop.js'
import { causeOf } from './lmtp.js'
import type { EventReceiver } from './receive-event.js'

/** SendGrid sends the largest: batches of up to 768 KiB. */
const MAX_BODY = 1024 * 1024
const BODY_WITHIN_MS = 20_000
const POLL_EVERY_MS = 5_000
/** Requests whose webhooks are stored in one transaction. */
const MAX_BATCH = 200
const COUNT_EVERY_MS = 1_000

export interface WebhookOptions {
  readonly secrets: ProviderSecrets
  readonly metrics?: Metrics
  /** Verifies SNS signatures; by default with certificates from Amazon. */
  readonly sns?: SnsSignatures
  readonly now?: () => Date
  /** Webhooks that may wait to be processed. */
  readonly maxWaiting?: number
}

/** The HTTP response, and the result that metrics count. */
interface Answer {
  readonly status: number
  readonly text: string
  readonly result: 'kept' | 'unneeded' | 'repeated' | 'refused' | 'unreadable' | 'failed'
}

export class WebhookReceiver {
  readonly #sns: SnsSignatures
  readonly #inbox: InboxLoop
  readonly #writer: Batcher<{ readonly source: string; readonly rows: readonly NewInboxRow[] }, AddedRows>
  #counted = { at: 0, waiting: 0 }

  constructor(
    private readonly intake: EventReceiver,
    private readonly database: Database,
    private readonly options: WebhookOptions,
    private readonly logger: Logger,
  ) {
    this.#sns = options.sns ?? new SnsSignatures()
    for (const provider of PROVIDERS) if (options.secrets[provider] !== undefined) options.metrics?.initWebhookCounters(provider)
    const handle =
      (provider: Provider) =>
      ({ content, digest }: InboxRow) =>
        intake.take(provider, content, digest)
    const handlers = Object.fromEntries(PROVIDERS.map((provider) => [provider, handle(provider)]))
    this.#writer = new Batcher((sets) => addAllToInbox(database, sets, options.now?.() ?? new Date()), MAX_BATCH)
    this.#inbox = new InboxLoop(database, handlers, { ...options, logger, pollEveryMs: POLL_EVERY_MS })
  }

  /** Finishes the current webhook; the others stay stored. */
  close(): Promise<void> {
    return this.#inbox.close()
  }

  /** Handles a request below /notifications; or says why it does not. @returns null for any other path. */
  answer(request: IncomingMessage, response: ServerResponse): 'answered' | NotServed | null {
    const [path = ''] = (request.url ?? '').split('?')
    const [, name] = /^\/notifications(?:\/([^/]*))?\/?$/.exec(path) ?? []
    if (path.split('/')[1] !== 'notifications') return null
    const provider = PROVIDERS.find((one) => one === name)
    if (provider === undefined)
      return { why: `there is no such page: webhooks go to /notifications/PROVIDER, and PROVIDER is ${PROVIDERS.join(', ')}` }
    if (this.options.secrets[provider] === undefined)
      return { why: `no webhooks of ${PROVIDER_NAMES[provider]} are accepted: ${SETTING[provider]} is not set for this process` }
    void this.#answer(provider, request).then(({ status, text, result }) => {
      this.options.metrics?.webhookReceived(provider, result)
      if (!request.complete) response.setHeader('connection', 'close')
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
    })
    return 'answered'
  }

  async #answer(provider: Provider, request: IncomingMessage): Promise<Answer> {
    if (request.method !== 'POST') return { status: 405, text: 'it must be a POST', result: 'refused' }
    const body = await read(request)
    if ('status' in body) return body
    const now = this.options.now?.() ?? new Date()
    try {
      const verified = await verifyRequest(provider, { headers: request.headers, body }, this.options.secrets, this.#sns, now)
      if (verified === null) return { status: 404, text: 'not found', result: 'refused' }
      return await this.#take(provider, verified)
    } catch (error) {
      const { message } = error as Error
      if (error instanceof NotAuthentic) {
        this.logger.warn({ provider, from: request.socket.remoteAddress, why: message }, 'a notification was refused')
        return { status: 401, text: message, result: 'refused' }
      }
      if (error instanceof UnreadableWebhook) {
        this.logger.warn({ provider, why: message }, 'a notification could not be read; it stays with the provider')
        return { status: 400, text: message, result: 'unreadable' }
      }
      this.logger.warn({ provider, error: causeOf(error) }, 'a notification could not be kept; the provider sends it again')
      return { status: 503, text: 'it cannot be kept now; send it again', result: 'failed' }
    }
  }

  /** Counted once a second. */
  async #isFull(): Promise<boolean> {
    const { maxWaiting } = this.options
    if (maxWaiting === undefined) return false
    const at = Date.now()
    if (at - this.#counted.at > COUNT_EVERY_MS) {
      this.#counted.at = at
      this.#counted.waiting = await waitingInInbox(this.database.db, PROVIDERS)
    }
    return this.#counted.waiting >= maxWaiting
  }

  async #take(provider: Provider, verified: Verified): Promise<Answer> {
    if (verified.kind === 'question') {
      await verified.confirm()
      this.logger.info({ provider }, 'a subscription was confirmed, or ended')
      return { status: 200, text: 'done', result: 'kept' }
    }
    if (await this.#isFull()) {
      this.logger.warn({ provider }, 'too many webhooks wait (intake.maxWaitingWebhooks); the provider sends this one again')
      return { status: 503, text: 'too many wait; send it again', result: 'failed' }
    }
    const rows: NewInboxRow[] = []
    for (const one of verified.kept) {
      const urgency = await this.intake.urgencyOf(provider, one.content)
      // where the signature does not cover the content, its ID must be remembered
      if (urgency !== 'never' || verified.goodOnce) rows.push({ ...one, isRoutine: urgency !== 'urgent' })
    }
    if (rows.length === 0) return { status: 200, text: 'nothing to do', result: 'unneeded' }
    const { fresh, conflicts } = await this.#writer.add({ source: provider, rows })
    if (conflicts.length > 0 && verified.goodOnce)
      throw new NotAuthentic(`it comes under the identifier of another notification (${conflicts[0]}): a replay`)
    this.#inbox.wake()
    return { status: 200, text: 'kept', result: fresh > 0 ? 'kept' : 'repeated' }
  }
}

/** The setting without which a provider's webhooks are not accepted. */
const SETTING: Readonly<Record<Provider, string>> = {
  ses: 'providers.ses.topicArns',
  sendgrid: 'providers.sendgrid.verificationKey',
  mailgun: 'providers.mailgun.signingKey',
  postmark: 'providers.postmark.webhookSecret',
  resend: 'providers.resend.webhookSecret',
}

/** Reads the body, within limits of size and time. */
async function read(request: IncomingMessage): Promise<Buffer | Answer> {
  const chunks: Buffer[] = []
  let bytes = 0
  const timer = setTimeout(() => request.destroy(), BODY_WITHIN_MS)
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_BODY) return { status: 413, text: `more than ${MAX_BODY} bytes`, result: 'refused' }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch {
    return { status: 400, text: 'the body did not come', result: 'unreadable' }
  } finally {
    clearTimeout(timer)
  }
}
