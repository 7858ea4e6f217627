/** The Message-ID in a message. */
import { headOf } from '../dsn/index.js'

/** @throws Error if the message has none. */
export function messageIdOf(content: Buffer): string {
  const id = headOf(content).first('message-id')?.trim()
  if (id === undefined || id === '') throw new Error('the message has no Message-ID; pass messageId')
  return id
}
