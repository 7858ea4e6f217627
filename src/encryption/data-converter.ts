/** How worker and client read and write payloads. */
import { fileURLToPath } from 'node:url'
import type { DataConverter } from '@temporalio/common'
import type { EncryptionKey } from '../config/index.js'
import { EncryptionCodec } from './codec.js'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The converter that ends unreadable payloads clearly. */
export const PAYLOAD_CONVERTER = here('../workflows/payload-converter.js')
/** The converter that leaves no text of a failure unencrypted where payloads are encrypted. */
export const FAILURE_CONVERTER = here('../workflows/failure-converter.js')

/** A worker's. Without keys, what is encrypted waits until the worker has the key. */
export function workerDataConverter(keys: readonly EncryptionKey[]): DataConverter {
  return {
    payloadConverterPath: PAYLOAD_CONVERTER,
    failureConverterPath: FAILURE_CONVERTER,
    payloadCodecs: [new EncryptionCodec(keys, true)],
  }
}

/** A client's. */
export function clientDataConverter(keys: readonly EncryptionKey[]): DataConverter {
  return { payloadCodecs: [new EncryptionCodec(keys)] }
}
