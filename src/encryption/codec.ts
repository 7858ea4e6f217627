/**
 * Payloads encrypted with AES-256-GCM, in the form that Temporal's own samples write in every language: metadata `encoding:
 * binary/encrypted` and `encryption-key-id`; data: 12 bytes of nonce, then the ciphertext of the Payload (protobuf) with its 16-byte tag.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Payload, PayloadCodec } from '@temporalio/common'
import proto from '@temporalio/proto'
import type { EncryptionKey } from '../config/index.js'
import { WAS_ENCRYPTED } from '../workflows/payload-converter.js'

const ENCODING = 'binary/encrypted'
const KEY_ID = 'encryption-key-id'
const ALGORITHM = 'aes-256-gcm'
const NONCE = 12
const TAG = 16

const text = (bytes: Uint8Array | null | undefined): string | null => (bytes == null ? null : Buffer.from(bytes).toString('utf8'))

/** A payload cannot be decrypted: its key is not set here, that key ID stands for another key, or the data was altered. */
export class CannotDecrypt extends Error {
  override name = 'CannotDecrypt'
}

export class EncryptionCodec implements PayloadCodec {
  readonly #keys: readonly EncryptionKey[]
  readonly #marks: boolean

  /**
   * @param keys the first encrypts, all decrypt; without keys, payloads stay as they are.
   * @param marks whether to mark decrypted payloads for the payload converter.
   */
  constructor(keys: readonly EncryptionKey[], marks = false) {
    this.#keys = keys
    this.#marks = marks
  }

  async encode(payloads: Payload[]): Promise<Payload[]> {
    const [key] = this.#keys
    return key === undefined ? payloads : payloads.map((payload) => encrypt(payload, key))
  }

  /** @throws CannotDecrypt. No work is lost: it continues once the key is set. */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) => {
      const id = text(payload.metadata?.[KEY_ID])
      // not encrypted by this scheme: another encoding, or no key ID
      if (id === null || text(payload.metadata?.encoding) !== ENCODING) return payload
      const decrypted = decrypt(payload, id, this.#keys)
      return this.#marks ? { ...decrypted, metadata: { ...decrypted.metadata, [WAS_ENCRYPTED]: Buffer.from(id) } } : decrypted
    })
  }
}

function encrypt(payload: Payload, { id, bytes }: EncryptionKey): Payload {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv(ALGORITHM, bytes, nonce)
  const plain = proto.temporal.api.common.v1.Payload.encode(payload).finish()
  return {
    metadata: { encoding: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(id) },
    data: Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]),
  }
}

function decrypt({ data }: Payload, id: string, keys: readonly EncryptionKey[]): Payload {
  const key = keys.find((one) => one.id === id)
  if (key === undefined)
    throw new CannotDecrypt(
      `a payload is encrypted under the key ${JSON.stringify(id.slice(0, 64))}, which is not among encryption.keys here`,
    )
  const bytes = Buffer.from(data ?? [])
  try {
    const decipher = createDecipheriv(ALGORITHM, key.bytes, bytes.subarray(0, NONCE), { authTagLength: TAG })
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG))
    const plain = Buffer.concat([decipher.update(bytes.subarray(NONCE, bytes.length - TAG)), decipher.final()])
    return proto.temporal.api.common.v1.Payload.decode(plain)
  } catch {
    throw new CannotDecrypt(
      `a payload does not decrypt under the key "${id}" of encryption.keys: it was changed, or that name stands for another key`,
    )
  }
}
