/** Settings of payload encryption. */
import { isLoopback, type Listen, names, parsed, parseListen } from './parsers.js'
import type { Values } from './setting.js'

/** An AES-256-GCM key, and the key ID in the metadata of its payloads. */
export interface EncryptionKey {
  readonly id: string
  /** 32 bytes. */
  readonly bytes: Buffer
}

function parseEncryptionKeys(text: string): readonly EncryptionKey[] {
  const keys = text
    .split(/[\s,]+/)
    .filter((key) => key !== '')
    .map((key) => {
      const [, id, base64] = /^([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/]{43}=)$/.exec(key) ?? []
      if (id === undefined || base64 === undefined)
        throw new Error('each key must be NAME:KEY, the key in base64 of 32 bytes: k1:$(openssl rand -base64 32)')
      return { id, bytes: Buffer.from(base64, 'base64') }
    })
  const ids = new Set(keys.map(({ id }) => id))
  if (ids.size < keys.length) throw new Error('each key must have a name of its own')
  return keys
}

export const ENCRYPTION_SETTINGS = {
  ENCRYPTION_KEYS: {
    default: '',
    doc: 'Keys that payloads in Temporal are encrypted with (AES-256-GCM), separated by commas: `NAME:KEY`, the key in base64 of 32 bytes. The first encrypts, all of them decrypt. Worker, intake and commands need the same ones ([privacy](privacy.md)).',
    schema: parsed(parseEncryptionKeys),
    secret: true,
  },
  ENCRYPTION_ID_KEY: {
    default: '',
    doc: 'The key of the HMAC that stands for address and Message-ID in workflow IDs and search attributes, in base64 of 32 bytes. Needed with `ENCRYPTION_KEYS`; it never changes, so that one message has one workflow ID for ever.',
    schema: parsed((text) => {
      if (text === '') return null
      if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) throw new Error('it must be 32 bytes in base64: openssl rand -base64 32')
      return Buffer.from(text, 'base64')
    }),
    secret: true,
  },
  CODEC_LISTEN: {
    default: '127.0.0.1:8081',
    doc: 'Where `softbounce codec-server` listens, which decrypts for the Web UI. Beyond this machine only with `CODEC_TOKEN`.',
    schema: parsed((text) => {
      const listen = parseListen(text)
      if (listen === null || 'path' in listen) throw new Error('it must be host:port')
      return listen
    }),
  },
  CODEC_ORIGINS: {
    default: 'http://localhost:8233, http://127.0.0.1:8233, http://localhost:8080, http://127.0.0.1:8080',
    doc: 'Where the Web UIs are that may ask it, as their address begins: `https://cloud.temporal.io`.',
    schema: names.refine((all) => all.every((one) => URL.canParse(one) && new URL(one).origin === one), {
      error: 'each must be an origin such as http://localhost:8233, without a path',
    }),
  },
  CODEC_TOKEN: {
    default: '',
    doc: 'What the address given to the Web UI must begin with, so that nobody else can ask: `http://host:8081/TOKEN`.',
    schema: parsed((text) => {
      if (text !== '' && !/^[A-Za-z0-9_-]{16,200}$/.test(text))
        throw new Error('it must be at least 16 letters, digits, - and _ (openssl rand -hex 24)')
      return text
    }),
    secret: true,
  },
} as const

export interface EncryptionSettings {
  /** The first encrypts, all decrypt; empty if nothing is encrypted. */
  readonly keys: readonly EncryptionKey[]
  /** The key of the HMAC in workflow IDs; null if nothing is encrypted. */
  readonly idKey: Buffer | null
  readonly codecServer: {
    readonly listen: Exclude<Listen, { path: string }>
    readonly origins: readonly string[]
    readonly token: string | null
  }
}

/** Adds what is wrong to `faults`. */
export function encryptionSettings(v: Values<typeof ENCRYPTION_SETTINGS>, faults: string[]): EncryptionSettings {
  if (v.CODEC_TOKEN === '' && !isLoopback(v.CODEC_LISTEN.host))
    faults.push(`CODEC_LISTEN=${v.CODEC_LISTEN.host}: others can reach this address, so that CODEC_TOKEN must be set`)
  if (v.ENCRYPTION_KEYS.length > 0 && v.ENCRYPTION_ID_KEY === null)
    faults.push(
      'ENCRYPTION_ID_KEY must be set with ENCRYPTION_KEYS: it makes the workflow IDs, and never changes (openssl rand -base64 32)',
    )
  return {
    keys: v.ENCRYPTION_KEYS,
    idKey: v.ENCRYPTION_KEYS.length > 0 ? v.ENCRYPTION_ID_KEY : null,
    codecServer: { listen: v.CODEC_LISTEN, origins: v.CODEC_ORIGINS, token: v.CODEC_TOKEN === '' ? null : v.CODEC_TOKEN },
  }
}
