/** Makes a transporter track what it sends, with settings that are checked already. */

import type { Settings } from '../config/index.js'
import { scheduleFor } from '../delivery/chosen-schedule.js'
import { WorkflowIds } from '../encryption/workflow-ids.js'
import { type Database, openDatabase } from '../store/index.js'
import { TrackError, type Tracked, type TrackOptions, type Transporter } from './track-options.js'
import { Tracking } from './tracking.js'
import type { Callback, MailMessage, Transport } from './transport.js'

/** Marks a transport that is already tracked. */
const TRACKED = Symbol.for('softbounce.tracked')

/** As `track`. A database that is passed stays open when the transporter is closed. */
export function trackWith<T extends Transporter>(
  transporter: T,
  settings: Pick<
    Settings,
    'database' | 'returnPaths' | 'relayPreset' | 'retryStatuses' | 'scheduleMs' | 'trialSchedules' | 'encryption' | 'taskQueue'
  >,
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
    firstDelayMs: (messageId: string, recipient: string) => scheduleFor(settings, messageId, recipient)[0] as number,
    workflowIds: new WorkflowIds(settings.encryption.idKey, settings.taskQueue),
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
