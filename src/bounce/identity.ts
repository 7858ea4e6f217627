/** From message and recipient to the workflow ID: one workflow for each pair, the same in every language. */
import { addressKey } from './address.js'

/** The task queue and the workflow type of the public contract. */
export const TASK_QUEUE = 'softbounce'
export const WORKFLOW_TYPE = 'retryBouncedMessage'

/** Most bytes of a workflow ID. */
export const MAX_WORKFLOW_ID_BYTES = 255

/** SHA-256 of the UTF-8 bytes of a text, in lower-case hex. An argument, since the workflow's sandbox has no crypto. */
export type Sha256Hex = (text: string) => string

/**
 * A Message-ID without its angle brackets and the space around it.
 * @throws Error if it is empty, longer than 998 bytes, or has white space, brackets or control characters.
 */
export function messageIdKey(messageId: string): string {
  const bare = messageId.trim().replace(/^<([\s\S]*)>$/, '$1')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is refused
  if (bare === '' || bare.length > 998 || /[\s<>\u0000-\u001f\u007f-\u009f]|\p{Cs}/u.test(bare))
    throw new Error(`${JSON.stringify(messageId.slice(0, 100))} is not a Message-ID such as 20261124.1@example.com`)
  return bare
}

/**
 * `bounce/<recipient>/<messageId>`; if that is longer than 255 bytes the Message-ID stands as `sha256-<hex>`, and where that is still
 * too long the recipient too. docs/protocol.md has the rule with test vectors.
 * @throws Error if the recipient or the Message-ID is not one.
 */
export function workflowId(recipient: string, messageId: string, sha256: Sha256Hex): string {
  const address = addressKey(recipient)
  const id = messageIdKey(messageId)
  const bytes = (text: string) => new TextEncoder().encode(text).length
  const plain = `bounce/${address}/${id}`
  if (bytes(plain) <= MAX_WORKFLOW_ID_BYTES) return plain
  const shorter = `bounce/${address}/sha256-${sha256(id)}`
  if (bytes(shorter) <= MAX_WORKFLOW_ID_BYTES) return shorter
  return `bounce/sha256-${sha256(address)}/sha256-${sha256(id)}`
}

/** A keyed hash (HMAC-SHA-256) of the UTF-8 bytes of a text, in lower-case hex. */
export type Hmac = (text: string) => string

const HIDDEN_LENGTH = 32

/** What stands for an address or Message-ID where it may not be read: `hmac-` and the first 128 bits of its HMAC. */
export function hiddenName(text: string, hmac: Hmac): string {
  return `hmac-${hmac(text).slice(0, HIDDEN_LENGTH)}`
}

/**
 * `bounce/hmac-<hex>/hmac-<hex>`: the workflow ID where payloads are encrypted, since no codec hides an ID.
 * @throws Error if the recipient or the Message-ID is not one.
 */
export function hiddenWorkflowId(recipient: string, messageId: string, hmac: Hmac): string {
  return `bounce/${hiddenName(addressKey(recipient), hmac)}/${hiddenName(messageIdKey(messageId), hmac)}`
}

/** A text in one of Temporal's list queries; its escape is the backslash. */
export function quoted(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
}

/** The list query for the open retries of a destination. */
export function openRetriesOf(destination: string): string {
  return `WorkflowType = '${WORKFLOW_TYPE}' AND ExecutionStatus = 'Running' AND BounceDestination = ${quoted(destination)}`
}
