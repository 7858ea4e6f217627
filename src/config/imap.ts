/** Settings of the IMAP mailbox that bounces are read from. */
import { readFileSync } from 'node:fs'
import { isLoopback, parsed } from './parsers.js'
import type { Values } from './setting.js'

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

function parseImapUrl(text: string): ImapAddress {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^imaps?:$/.test(url.protocol) || url.hostname === '' || url.username === '')
    throw new Error('it must be imaps://user:password@host/INBOX (with %40 for an @ in the user), or imap:// for STARTTLS')
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
}

export const IMAP_SETTINGS = {
  IMAP_URL: {
    default: '',
    doc: 'The mailbox that `softbounce intake --imap` reads: `imaps://user:password@host/INBOX`, or `imap://` for STARTTLS, which is insisted on except on this machine itself.',
    schema: parsed((text) => (text === '' ? null : parseImapUrl(text))),
    secret: true,
  },
  IMAP_TOKEN_FILE: {
    default: '',
    doc: 'File with an OAuth2 access token, instead of a password. It is read at each login, so a renewed token needs no restart.',
    schema: parsed((text) => (text === '' ? null : text)),
  },
  IMAP_CA_FILE: {
    default: '',
    doc: 'File with the PEM certificates of a private CA that signed the IMAP server’s certificate.',
    schema: parsed((text) => (text === '' ? null : readFileSync(text, 'utf8'))),
  },
  IMAP_HANDLED: {
    default: 'flag',
    doc: 'What happens to processed mails: `flag` marks them as read, `move:FOLDER` moves them. None is deleted.',
    schema: parsed((text): { readonly folder: string | null } => {
      const folder = /^move:(.{1,200})$/.exec(text)?.[1]
      if (text !== 'flag' && folder === undefined) throw new Error('it must be flag, or move: and the name of a folder')
      return { folder: folder ?? null }
    }),
  },
  IMAP_UNREADABLE: {
    default: 'softbounce-unreadable',
    doc: 'The folder that mails go to that nobody can read, or that are larger than `INTAKE_MAX_SIZE`.',
    schema: parsed((text) => text),
  },
} as const

export interface ImapSettings extends ImapAddress {
  readonly tokenFile: string | null
  readonly ca: string | null
  /** The folder that handled mails are moved to; null: they are only marked as read. */
  readonly handledFolder: string | null
  readonly unreadableFolder: string
}

/** Whether two names are the same folder; INBOX in any case (RFC 9051 5.1). */
export const sameFolder = (one: string, other: string): boolean =>
  one === other || (one.toLowerCase() === 'inbox' && other.toLowerCase() === 'inbox')

/** Null if none is set. Adds what is wrong to `faults`. */
export function imapSettings(v: Values<typeof IMAP_SETTINGS>, faults: string[]): ImapSettings | null {
  if (v.IMAP_URL === null) return null
  if ((v.IMAP_URL.password === null) === (v.IMAP_TOKEN_FILE === null))
    faults.push('IMAP_URL: it needs a password, or IMAP_TOKEN_FILE, and not both')
  for (const [name, folder] of [
    ['IMAP_HANDLED', v.IMAP_HANDLED.folder],
    ['IMAP_UNREADABLE', v.IMAP_UNREADABLE],
  ] as const)
    if (folder === '' || (folder !== null && sameFolder(folder, v.IMAP_URL.folder)))
      faults.push(`${name}: it must be another folder than the one that is read`)
  return {
    ...v.IMAP_URL,
    tokenFile: v.IMAP_TOKEN_FILE,
    ca: v.IMAP_CA_FILE,
    handledFolder: v.IMAP_HANDLED.folder,
    unreadableFolder: v.IMAP_UNREADABLE,
  }
}
