/** Settings of payload encryption. */
import { z } from 'zod'
import { isLoopback, matching, parsed, secret, section, setting } from './field.js'
import type { AddFault } from './wrong-settings.js'

/** An AES-256-GCM key, and the key ID in the metadata of its payloads. */
export interface EncryptionKey {
  readonly id: string
  /** 32 bytes. */
  readonly bytes: Buffer
}

const bytes32 = parsed((text) => {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) throw new Error('it must be 32 bytes in base64: openssl rand -base64 32')
  return Buffer.from(text, 'base64')
})

const token = matching(/^[A-Za-z0-9_-]{16,200}$/, 'at least 16 letters, digits, - and _ (openssl rand -hex 24)')

export const ENCRYPTION = section('Encryption of payloads in Temporal ([how to](how-to/encrypt-payloads.md)).', {
  keys: secret(
    'Keys that payloads in Temporal are encrypted with (AES-256-GCM). The first encrypts, all of them decrypt. Worker, intake and commands need the same ones.',
    z
      .array(
        z.strictObject({
          id: matching(/^[A-Za-z0-9._-]{1,64}$/, 'letters, digits, ., _ and -').meta({ description: 'Name of the key.' }),
          key: bytes32.meta({ description: '32 bytes in base64 (`openssl rand -base64 32`).' }),
        }),
      )
      .prefault([]),
  ),
  idKey: secret(
    'The key of the HMAC that stands for address and Message-ID in workflow IDs and search attributes: 32 bytes in base64. Needed with `encryption.keys`. It never changes, so that one message always has one workflow ID.',
    bytes32.optional(),
  ),
  codecToken: secret(
    'Begins the path of `softbounce codec-server` in the Web UI, so that nobody else can have payloads decrypted: `http://host:8081/TOKEN`. Needed if it listens beyond this machine.',
    token.optional(),
  ),
})

const webAddress = parsed((text) => {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw new Error('it must be an address such as http://localhost:8233')
  return text
})

export const HTTP = section(
  'The pages of a worker or an intake: `/healthz`, `/metrics`, `/metrics/temporal` (those of Temporal’s SDK) and `/report`; an intake also accepts `/notifications/PROVIDER`.',
  {
    host: setting(
      'Address that the pages are served on. Beyond this machine only with `http.token`.',
      z.string().min(1).prefault('127.0.0.1'),
    ),
    port: setting(
      'Port of the pages; none if left out. A worker and an intake on one machine need one each.',
      z.int().min(0).max(65_535).optional(),
    ),
    webUi: setting(
      'Address of Temporal’s Web UI, for the links of `/report`. Default: if Temporal is on this machine, its port plus 1000, as its dev server has it (`http://localhost:8233`); for Temporal Cloud, its own; else the page has no links.',
      webAddress.optional(),
    ),
    token: secret(
      'What `/metrics` and `/metrics/temporal` require as `Authorization: Bearer TOKEN` (Prometheus: `authorization`), and `/report` as that or as a browser’s password. Without it, `/report` is shown on this machine only. `/healthz` needs none, and webhooks are authenticated by their signatures.',
      token.optional(),
    ),
  },
)

export interface EncryptionSettings {
  /** The first encrypts, all decrypt; empty if nothing is encrypted. */
  readonly keys: readonly EncryptionKey[]
  /** The key of the HMAC in workflow IDs; null if nothing is encrypted. */
  readonly idKey: Buffer | null
  /** The token that requests to the codec server need. */
  readonly codecToken: string | null
}

export function encryptionSettings({ keys, idKey, codecToken }: z.output<typeof ENCRYPTION>, fault: AddFault): EncryptionSettings {
  if (new Set(keys.map(({ id }) => id)).size < keys.length) fault('encryption.keys', 'each key must have a name of its own')
  if (keys.length > 0 && idKey === undefined)
    fault(
      'encryption.idKey',
      'it must be set if encryption.keys is set: it makes the workflow IDs, and never changes (openssl rand -base64 32)',
    )
  return {
    keys: keys.map(({ id, key }) => ({ id, bytes: key })),
    idKey: keys.length > 0 && idKey !== undefined ? idKey : null,
    codecToken: codecToken ?? null,
  }
}

export function checkHttp({ host, port, token }: z.output<typeof HTTP>, fault: AddFault): void {
  if (port !== undefined && token === undefined && !isLoopback(host))
    fault('http.host', `others can reach ${host}, so http.token must be set`)
}
