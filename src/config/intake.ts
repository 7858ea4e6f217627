/** Settings of signed return paths, and of the intake of bounces. */
import { z } from 'zod'
import { maxStaggerMs } from '../bounce/index.js'
import { parseReturnPathTemplate, type ReturnPaths } from '../delivery/return-path.js'
import {
  DAY,
  flag,
  integer,
  isLoopback,
  type Listen,
  matching,
  parsed,
  parseListen,
  parseLoginUrl,
  secret,
  section,
  setting,
} from './field.js'
import type { AddFault } from './wrong-settings.js'

const signingKey = parsed((text) => {
  const bytes = /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
  if (bytes.length < 16) throw new Error('each key must be base64 of at least 16 bytes (openssl rand -base64 32)')
  return bytes
})

export const RETURN_PATH = section('Signed return paths, by which a bounce proves that it answers your mail.', {
  keys: secret(
    'The keys that sign return paths: base64 of at least 16 bytes each (`openssl rand -base64 32`). The first signs, all of them verify. `track` needs one; applications, worker and intake need the same ones. Put a new key in front, and keep the old one until its return paths have expired: the whole schedule, and `relay.confirmWithin` for the message and each retry (33 d with the defaults).',
    z.array(signingKey).prefault([]),
  ),
  address: setting(
    'The return path of tracked messages and of retries, if `returnPath.keys` is set: `{token}` stands for the signature, `{domain}` for the sender’s domain. Mail to it must reach `softbounce intake` or `softbounce take`, and no other mail should: use a subdomain (`bounce+{token}@bounces.{domain}`) if the whole domain is led there.',
    parsed(parseReturnPathTemplate).prefault('bounce+{token}@{domain}'),
  ),
})

/** Server, login and folder of the mailbox. */
export interface ImapAddress {
  readonly host: string
  readonly port: number
  /** `off` only for a loopback host. */
  readonly tls: 'implicit' | 'starttls' | 'off'
  readonly user: string
  /** Null if a token is used. */
  readonly password: string | null
  readonly folder: string
}

const IMAP_FORM = 'it must be imaps://user:password@host/INBOX (with %40 for an @ in the user), or imap:// for STARTTLS'

const imapUrl = parsed((text): ImapAddress => {
  const url = parseLoginUrl(text, ['imap', 'imaps'], IMAP_FORM)
  if (url.username === '') throw new Error(IMAP_FORM)
  if (url.search !== '' || url.hash !== '') throw new Error('nothing may follow the folder')
  const implicitTls = url.protocol === 'imaps:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    port: url.port === '' ? (implicitTls ? 993 : 143) : Number(url.port),
    tls: implicitTls ? 'implicit' : isLoopback(host) ? 'off' : 'starttls',
    user: decodeURIComponent(url.username),
    password: url.password === '' ? null : decodeURIComponent(url.password),
    folder: url.pathname.length > 1 ? decodeURIComponent(url.pathname.slice(1)) : 'INBOX',
  }
})

const folder = matching(/^.{1,200}$/, 'the name of a folder')

export const INTAKE = section('Where bounces come in.', {
  listen: setting(
    'Where `softbounce intake` listens for LMTP: `127.0.0.1:2003`, or `unix:/run/softbounce/lmtp.sock`.',
    parsed(parseListen).optional(),
  ),
  trusted: setting(
    'Only your own mail system can deliver to the intake: then bounces that a host in `ownHosts` made itself are authenticated without a signed return path. Anyone else who reached it could start retries and suppress addresses.',
    flag.prefault(false),
  ),
  maxSize: setting('Largest mail that the intake accepts, in MiB.', integer(1, 50).prefault(32)),
  maxReports: setting(
    'How many reports `softbounce bounces` keeps. Beyond that, the oldest are deleted, unauthenticated ones first. Reports that would act again if they came again are not counted.',
    integer(1_000, 100_000_000).prefault(200_000),
  ),
  maxQuarantine: setting(
    'How much mail and how many webhooks are kept in quarantine, in MiB: those that cannot be read, and bounces of another store. Beyond that, the oldest of the sender that holds most is deleted.',
    integer(1, 1_000_000).prefault(1_024),
  ),
  maxWaitingWebhooks: setting(
    'How many webhooks may wait to be processed. Beyond that they get a 503, and the provider sends them again.',
    integer(1_000, 100_000_000).prefault(500_000),
  ),
  imap: section('The mailbox that `softbounce intake --imap` reads.', {
    url: secret(
      'The mailbox: `imaps://user:password@host/INBOX`, or `imap://` for STARTTLS, which is required except on this machine itself.',
      imapUrl.optional(),
    ),
    tokenFile: setting(
      'File with an OAuth2 access token, instead of a password. It is read at each login, so a renewed token needs no restart.',
      z.string().optional(),
    ),
    processedFolder: setting(
      'The folder that processed mails are moved to. Left out: they are marked as read. None is deleted.',
      folder.optional(),
    ),
    quarantineFolder: setting(
      'The folder for mails that cannot be read, or that are larger than `intake.maxSize`.',
      folder.prefault('softbounce-unreadable'),
    ),
  }),
})

export interface ImapSettings extends ImapAddress {
  readonly tokenFile: string | null
  /** The folder that processed mails are moved to; null: they are only marked as read. */
  readonly handledFolder: string | null
  readonly unreadableFolder: string
}

export interface IntakeSettings {
  readonly listen: Listen | null
  readonly isTrusted: boolean
  readonly maxBytes: number
  readonly limits: IntakeLimits
}

/** Quotas, so that a flood of reports does not fill the disk. */
export interface IntakeLimits {
  readonly reports: number
  readonly quarantineBytes: number
  readonly waitingWebhooks: number
}

type IntakeValues = z.output<typeof INTAKE>

const MIB = 1024 * 1024

export const intakeSettings = (values: IntakeValues): IntakeSettings => ({
  listen: values.listen ?? null,
  isTrusted: values.trusted,
  maxBytes: values.maxSize * MIB,
  limits: { reports: values.maxReports, quarantineBytes: values.maxQuarantine * MIB, waitingWebhooks: values.maxWaitingWebhooks },
})

/** Whether two names are the same folder; INBOX in any case (RFC 9051 5.1). */
const sameFolder = (one: string, other: string): boolean =>
  one === other || (one.toLowerCase() === 'inbox' && other.toLowerCase() === 'inbox')

/** Null if no mailbox is set. */
export function imapSettings(
  { url, tokenFile, processedFolder, quarantineFolder }: IntakeValues['imap'],
  fault: AddFault,
): ImapSettings | null {
  if (url === undefined) return null
  if ((url.password === null) === (tokenFile === undefined))
    fault('intake.imap.url', 'it needs a password, or intake.imap.tokenFile, and not both')
  for (const [name, folder] of Object.entries({ processedFolder, quarantineFolder }))
    if (folder !== undefined && sameFolder(folder, url.folder))
      fault(`intake.imap.${name}`, 'it must be another folder than the one that is read')
  return {
    ...url,
    tokenFile: tokenFile ?? null,
    handledFolder: processedFolder ?? null,
    unreadableFolder: quarantineFolder,
  }
}

/**
 * Null if no key is set: then nothing is signed, and no return path is authenticated.
 * A return path is valid for the whole schedule (the longest of several), plus the relay's queue lifetime for the original and each retry: bounces may be that late.
 */
export function returnPaths(
  { keys, address }: z.output<typeof RETURN_PATH>,
  schedulesMs: readonly (readonly number[])[],
  confirmWithinMs: number,
): ReturnPaths | null {
  if (keys.length === 0) return null
  const lasting = (scheduleMs: readonly number[]) =>
    scheduleMs.reduce((sum, delayMs) => sum + delayMs + maxStaggerMs(delayMs) + confirmWithinMs, confirmWithinMs)
  return { template: address, keys, validDays: Math.ceil(Math.max(...schedulesMs.map(lasting)) / DAY) + 1 }
}
