/**
 * Sends through nodemailer so that every bounce can be authenticated and retried: each recipient gets its own signed return path, the
 * message is stored for as long as a bounce can come, a message to a suppressed recipient is refused before anything is sent, and refusals for now are retried.
 */
import { DEFAULT_RETRY_STATUSES, DEFAULT_SCHEDULE, parseDuration, parseRetryStatuses } from '../bounce/index.js'
import { readSettings } from '../config/index.js'
import { WorkflowIds } from '../encryption/index.js'
import { openDatabase } from '../store/index.js'
import { TrackError, type Tracked, type TrackOptions, type Transporter } from './track-options.js'
import { Tracking } from './tracking.js'
import type { Callback, MailMessage, Transport } from './transport.js'

/** Marks a transport that is already tracked. */
const TRACKED = Symbol('softbounce')

/**
 * Tracks what a transporter sends: `track(nodemailer.createTransport(...))`. Changes the transporter in place and returns it; its own
 * plugins, defaults and DKIM stay. If a recipient is refused with a status that is retried (4.3.2 by default), `sendMail` resolves: the
 * recipient is in `info.pending`, and its retry in `info.retries`.
 * @throws TrackError with code ERETURNPATH if RETURN_PATH_KEYS is not set; WrongSettings.
 * @example
 * const transporter = track(nodemailer.createTransport('smtp://127.0.0.1:25'))
 * const info = await transporter.sendMail({ from: 'shop@example.com', to: 'ann@example.org', subject: 'Your invoice', text: 'Thank you.' })
 * for (const { recipient, retryAt } of info.retries ?? []) console.log(`${recipient} is retried at ${retryAt}`)
 */
export function track<T extends Transporter>(transporter: T, options: TrackOptions = {}): Tracked<T> {
  const settings = options.settings ?? readSettings()
  if (settings.returnPaths === null)
    throw new TrackError('ERETURNPATH', 'RETURN_PATH_KEYS is not set: without a key no return path can be signed (openssl rand -base64 32)')
  const inner = transporter.transporter as Transport
  if (TRACKED in inner) return transporter as Tracked<T>
  const retry = {
    statuses: settings.retryStatuses ?? parseRetryStatuses(DEFAULT_RETRY_STATUSES),
    firstDelayMs: settings.scheduleMs?.[0] ?? parseDuration(DEFAULT_SCHEDULE[0] as string),
    workflowIds: new WorkflowIds(settings.encryption?.idKey ?? null),
  }
  const tracking = new Tracking(inner, {
    returnPaths: settings.returnPaths,
    provider: options.provider ?? settings.relayPreset ?? null,
    database: options.database ?? null,
    open: () => openDatabase(settings.databaseUrl),
    retry: (options.retryRefused ?? true) ? retry : null,
    onDatabaseError: options.onDatabaseError ?? 'fail',
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
  // forward everything else that nodemailer reads or sets (a proxy's sockets) to the inner transport
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
