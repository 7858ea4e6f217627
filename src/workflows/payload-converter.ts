/**
 * The default payload converter, except that a payload it cannot read becomes a marker: thrown here, the error would fail every workflow
 * task for ever; the marker ends the workflow as InvalidBouncedMessage.
 */
import { defaultPayloadConverter, METADATA_ENCODING_KEY, type Payload, type PayloadConverter } from '@temporalio/common'
import type { UnreadablePayload } from '../bounce/index.js'

/** Metadata key of payloads that the codec has decrypted. */
export const WAS_ENCRYPTED = 'softbounce-was-encrypted'

let encrypted = false

/** Whether an incoming payload was encrypted: then failure messages must be encrypted too. */
export const cameEncrypted = (): boolean => encrypted

export const payloadConverter: PayloadConverter = {
  toPayload: (value, context) => defaultPayloadConverter.toPayload(value, context),
  fromPayload<T>(payload: Payload): T {
    if (payload.metadata?.[WAS_ENCRYPTED] != null) encrypted = true
    try {
      return defaultPayloadConverter.fromPayload<T>(payload)
    } catch {
      const encoding = payload.metadata?.[METADATA_ENCODING_KEY]
      const marker: UnreadablePayload = {
        unreadablePayload: encoding == null ? 'not given' : new TextDecoder().decode(encoding).slice(0, 100),
      }
      return marker as T
    }
  },
}
