/** The data converters of worker and client. */
import type { DataConverter } from '@temporalio/common'
import type { EncryptionKey } from '../config/index.js'
import { inPackage } from '../paths.js'
import { EncryptionCodec } from './codec.js'

/** Path of the payload converter, which replaces an unreadable payload with a marker. */
export const PAYLOAD_CONVERTER = inPackage('./workflows/payload-converter.js')
/** Path of the failure converter, which encrypts failure texts if payloads are encrypted. */
export const FAILURE_CONVERTER = inPackage('./workflows/failure-converter.js')

/** For a worker. Without the key, encrypted work waits until the worker has it. */
export function workerDataConverter(keys: readonly EncryptionKey[]): DataConverter {
  return {
    payloadConverterPath: PAYLOAD_CONVERTER,
    failureConverterPath: FAILURE_CONVERTER,
    payloadCodecs: [new EncryptionCodec(keys, true)],
  }
}

/** For a client. */
export function clientDataConverter(keys: readonly EncryptionKey[]): DataConverter {
  return { payloadCodecs: [new EncryptionCodec(keys)] }
}
