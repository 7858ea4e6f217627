/** Derives the workflow ID from message and recipient: one workflow per pair, the same in every SDK. */
import { addressKey } from './address.js'

/** The task queue and the workflow type of the public contract. */
export const TASK_QUEUE = 'softbounce'
export const WORKFLOW_TYPE = 'retryBouncedMessage'

/**
 * What the IDs of a fleet's workflows hold in front of their subject: nothing on the task queue of the contract, else `@<task queue>/`,
 * so that fleets of one namespace do not meet. No address begins with `@`.
 */
export const fleetPrefix = (taskQueue: string): string => (taskQueue === TASK_QUEUE ? '' : `@${taskQueue}/`)

/** The ID of the workflow that releases the waiting retries of a destination. */
export const releaseId = (taskQueue: string, destination: string): string => `release/${fleetPrefix(taskQueue)}${destination}`

/** Longest workflow ID. */
export const MAX_WORKFLOW_ID_BYTES = 255

/** SHA-256 of the UTF-8 bytes of a text, in lower-case hex. Passed in, since the workflow sandbox has no crypto. */
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
 * `bounce/<recipient>/<messageId>`; if that is longer than 255 bytes, `sha256-<hex>` replaces the Message-ID, and the recipient too
 * if it is still too long. docs/protocol.md has the rule with test vectors.
 * @throws Error if the recipient or the Message-ID is not one.
 */
export function workflowId(recipient: string, messageId: string, sha256: Sha256Hex, taskQueue: string = TASK_QUEUE): string {
  const address = addressKey(recipient)
  const id = messageIdKey(messageId)
  const bytes = (text: string) => new TextEncoder().encode(text).length
  const first = `bounce/${fleetPrefix(taskQueue)}`
  const plain = `${first}${address}/${id}`
  if (bytes(plain) <= MAX_WORKFLOW_ID_BYTES) return plain
  const shorter = `${first}${address}/sha256-${sha256(id)}`
  if (bytes(shorter) <= MAX_WORKFLOW_ID_BYTES) return shorter
  return `${first}sha256-${sha256(address)}/sha256-${sha256(id)}`
}

/** A keyed hash (HMAC-SHA-256) of the UTF-8 bytes of a text, in lower-case hex. */
export type Hmac = (text: string) => string

const HIDDEN_LENGTH = 32

/** Pseudonym for an address or Message-ID that must stay unreadable: `hmac-` and the first 128 bits of its HMAC. */
export function hiddenName(text: string, hmac: Hmac): string {
  return `hmac-${hmac(text).slice(0, HIDDEN_LENGTH)}`
}

/**
 * `bounce/hmac-<hex>/hmac-<hex>`: the workflow ID if payloads are encrypted, since a payload codec does not encrypt IDs.
 * @throws Error if the recipient or the Message-ID is not one.
 */
export function hiddenWorkflowId(recipient: string, messageId: string, hmac: Hmac, taskQueue: string = TASK_QUEUE): string {
  return `bounce/${fleetPrefix(taskQueue)}${hiddenName(addressKey(recipient), hmac)}/${hiddenName(messageIdKey(messageId), hmac)}`
}

/** Quotes a string for a Temporal list filter, which escapes with a backslash. */
export function quoted(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
}

/** The list filter for a fleet's retries. */
export const retriesOn = (taskQueue: string): string => `WorkflowType = '${WORKFLOW_TYPE}' AND TaskQueue = ${quoted(taskQueue)}`

/** The list filter for its open retries of a destination. */
export function openRetriesOf(taskQueue: string, destination: string): string {
  return `${retriesOn(taskQueue)} AND ExecutionStatus = 'Running' AND BounceDestination = ${quoted(destination)}`
}
