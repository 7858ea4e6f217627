/** Workflows of another team, in a namespace of its own: they reach softbounce through a Nexus endpoint alone. */
import { createNexusServiceClient } from '@temporalio/workflow'
import { type BouncedMessage, type Progress, type RetryReference, type RetryResult, softbounceService } from '../../src/nexus/index.js'

const through = (endpoint: string) => createNexusServiceClient({ service: softbounceService, endpoint })

export const retryOrder = (endpoint: string, message: BouncedMessage): Promise<RetryResult> =>
  through(endpoint).executeOperation('retry', message)

export const steerOrder = (
  endpoint: string,
  operation: 'retryNow' | 'giveUp' | 'progress',
  input: RetryReference & { retry?: number },
): Promise<Progress> => through(endpoint).executeOperation(operation, input)
