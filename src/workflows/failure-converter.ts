/**
 * The default failure converter, except that texts of failures, which may quote an address, stand in an encrypted payload where payloads are
 * encrypted. Workflows cannot know the settings: they go by what came in.
 */
import { DefaultFailureConverter, type FailureConverter } from '@temporalio/common'
import { cameEncrypted } from './payload-converter.js'

const plain = new DefaultFailureConverter()
const encoding = new DefaultFailureConverter({ encodeCommonAttributes: true })

export const failureConverter: FailureConverter = {
  errorToFailure: (error, payloads, context) => (cameEncrypted() ? encoding : plain).errorToFailure(error, payloads, context),
  failureToError: (failure, payloads, context) => plain.failureToError(failure, payloads, context),
}
