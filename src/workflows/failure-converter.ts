/**
 * The default failure converter, except that failure messages, which may quote an address, are encrypted if payloads are. Workflows have no
 * access to the settings, so this depends on whether an incoming payload was encrypted.
 */
import { DefaultFailureConverter, type FailureConverter } from '@temporalio/common'
import { cameEncrypted } from './payload-converter.js'

const plain = new DefaultFailureConverter()
const encoding = new DefaultFailureConverter({ encodeCommonAttributes: true })

export const failureConverter: FailureConverter = {
  errorToFailure: (error, payloads, context) => (cameEncrypted() ? encoding : plain).errorToFailure(error, payloads, context),
  failureToError: (failure, payloads, context) => plain.failureToError(failure, payloads, context),
}
