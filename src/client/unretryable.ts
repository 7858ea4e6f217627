/** Turns a start or signal that Temporal rejects permanently into an UnretryableBounce. */
import { isGrpcServiceError } from '@temporalio/client'
import { UnretryableBounce } from './options.js'

/** @throws UnretryableBounce if the request is invalid, or beyond a limit of size or of signals: retrying it cannot help. */
export async function unlessRefused<T>(request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if (!isGrpcServiceError(cause)) throw error
    const tooLarge = cause.code === GRPC_RESOURCE_EXHAUSTED && /larger than max/.test(cause.details)
    if (cause.code !== GRPC_INVALID_ARGUMENT && !tooLarge) throw error
    throw new UnretryableBounce(`Temporal refuses it for good: ${cause.details.slice(0, 200)}`)
  }
}

export const GRPC_INVALID_ARGUMENT = 3

export const GRPC_RESOURCE_EXHAUSTED = 8
