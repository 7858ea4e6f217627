/**
 * Sends through nodemailer so that every bounce can be authenticated and retried: each recipient gets its own signed return path, the
 * message is stored for as long as a bounce can come, a message to a suppressed recipient is refused before anything is sent, and refusals for now are retried.
 */
import { settingsFrom } from '../config/index.js'
import type { Tracked, TrackOptions, Transporter } from './track-options.js'
import { trackWith } from './track-with.js'

/** The settings that `track` uses. */
const TRACK_NEEDS = ['database', 'returnPath', 'retry', 'relay.provider', 'relay.confirmWithin', 'encryption', 'worker.taskQueue']

/**
 * Tracks what a transporter sends. Changes the transporter in place and returns it; its own plugins, defaults and DKIM stay. If a recipient
 * is refused with a status that is retried (4.3.2 by default), `sendMail` resolves: the recipient is in `info.pending`, and its retry in
 * `info.retries`.
 * @param options in the shape of `softbounce.yaml`; the environment is read only by `fromEnvironment()`.
 * @throws TrackError with code ERETURNPATH if there is no `returnPath.keys`; WrongSettings.
 * @example
 * const transporter = track(nodemailer.createTransport('smtp://127.0.0.1:25'), {
 *   database: { url: 'postgres://app:secret@127.0.0.1/app' },
 *   returnPath: { keys: [await readFile('/run/secrets/return-path-key', 'utf8')] },
 * })
 * const info = await transporter.sendMail({ from: 'shop@example.com', to: 'ann@example.org', subject: 'Your invoice', text: 'Thank you.' })
 * for (const { recipient, retryAt } of info.retries ?? []) console.log(`${recipient} is retried at ${retryAt}`)
 */
export function track<T extends Transporter>(transporter: T, options: TrackOptions): Tracked<T> {
  return trackWith(transporter, settingsFrom(options, TRACK_NEEDS), options)
}
