/** Encrypted payloads, and workflow IDs that hide addresses. */
export { CannotDecrypt, EncryptionCodec } from './codec.js'
export { clientDataConverter, FAILURE_CONVERTER, PAYLOAD_CONVERTER, workerDataConverter } from './data-converter.js'
export { WorkflowIds } from './workflow-ids.js'
