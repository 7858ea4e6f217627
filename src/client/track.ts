/**
 * Sends through nodemailer so that every bounce can be authenticated and retried: each recipient gets its own signed return path, the
 * message is stored for as long as a bounce can come, a message to a suppressed recipient is refused before anything is sent, and refusals for now are retried.
 */
import { type Settings, settingsFrom } from '../config/index.js'
import { WorkflowIds } from '../encryption/index.js'
import { type Database, openDatabase } from '../store/index.js'
import { TrackError, type Tracked, type TrackOptions, type Transporter } from './track-options.js'
import { Tracking } from './tracking.js'
import type { Callback, MailMessage, Transport } from './transport.js'

/** Marks a transport that is already tracked. */
const TRACKED = Symbol('softbounce')

/** The settings that `track` uses. */
const TRACK_NEEDS = ['database', 'returnPath', 'retry', 'relay.provider', 'relay.confirmWithin', 'encryption']

/**
 * Tracks what a transporter sends. Changes the transporter in place and returns it; its own plugins, defaults and DKIM stay. If a recipient
 * is refused with a status that is retried (4.3.2 by default), `sendMail` resolves: the recipient is in `info.pending`, and its retry in
 * `info.retries`.
 * @param options in the shape of `softbounce.yaml`; the environment is read only by `fromEnvironment()`.
 * @throws TrackError with code ERETURNPATH if there is no `returnPath.keys`; WrongSettings.
 * @example
 * const transporter = track(nodemailer.createTransport('smtp://127.0.0.1:25'), {
 *   database: { url: 'postgres://app:secret@127.0.0.1/app' },
 *   returnPath: { keys: [process.env.RETURN_PATH_KEY] },
 * })
 * const info = await transporter.sendMail({ from: 'shop@example.com', to: 'ann@example.org', subject: 'Your invoice', text: 'Thank you.' })
 * for (const { recipient, retryAt } of info.retries ?? []) console.log(`${recipient} is retried at ${retryAt}`)
 */
export function track<T extends Transporter>(transporter: T, options: TrackOptions): Tracked<T> {
  return trackWith(transporter, settingsFrom(options, TRACK_NEEDS), options)
}

/** The same with settings that are checked already. A database that is passed stays open when the transporter is closed. */
export function trackWith<T extends Transporter>(
  transporter: T,
  settings: Pick<Settings, 'database' | 'returnPaths' | 'relayPreset' | 'retryStatuses' | 'scheduleMs' | 'encryption'>,
  options: Pick<TrackOptions, 'retryRefused' | 'onDatabaseError'> & { readonly opened?: Database } = {},
): Tracked<T> {
  if (settings.returnPaths === null)
    throw new TrackError(
      'ERETURNPATH',
      'returnPath.keys is empty: without a key no return path can be signed (openssl rand -base64 32 makes one)',
    )
  const inner = transporter.transporter as Transport
  if (TRACKED in inner) return transporter as Tracked<T>
  const retry = {
    statuses: settings.retryStatuses,
    firstDelayMs: settings.scheduleMs[0] as number,
    workflowIds: new WorkflowIds(settings.encryption.idKey),
  }
  const tracking = new Tracking(inner, {
    returnPaths: settings.returnPaths,
    provider: settings.relayPreset,
    database: options.opened ?? null,
    open: () => openDatabase(settings.database),
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
