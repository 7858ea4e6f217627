/**
 * Workflow IDs and search attributes, which no codec encrypts: if payloads are encrypted, they hold an HMAC of recipient and Message-ID
 * instead (the rule is in docs/protocol.md). The HMAC key never rotates, so that a message always has the same ID.
 */
import { createHash, createHmac } from 'node:crypto'
import { addressKey, fleetPrefix, type Hmac, hiddenName, hiddenWorkflowId, TASK_QUEUE, workflowId } from '../bounce/index.js'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

export class WorkflowIds {
  readonly #hmac: Hmac | null

  /**
   * @param key of the HMAC; null if payloads are not encrypted.
   * @param taskQueue of the fleet.
   */
  constructor(
    key: Buffer | null,
    readonly taskQueue: string = TASK_QUEUE,
  ) {
    this.#hmac = key === null ? null : (text) => createHmac('sha256', key).update(text).digest('hex')
  }

  /** The workflow ID of a message and recipient. @throws Error if one of them is malformed. */
  workflowId(recipient: string, messageId: string): string {
    const { taskQueue } = this
    return this.#hmac === null
      ? workflowId(recipient, messageId, sha256, taskQueue)
      : hiddenWorkflowId(recipient, messageId, this.#hmac, taskQueue)
  }

  /**
   * The ID, if it is one of this fleet's retries.
   * @throws Error if it is not.
   */
  own(id: string): string {
    const prefix = `bounce/${fleetPrefix(this.taskQueue)}`
    if (!id.startsWith(prefix) || id.startsWith('@', prefix.length))
      throw new Error(`${id} is no retry on the task queue ${this.taskQueue}: their workflow IDs begin with ${prefix}`)
    return id
  }

  /** The prefix of a recipient's workflow IDs. */
  prefix(recipient: string): string {
    const id = this.workflowId(recipient, 'x')
    return id.slice(0, id.lastIndexOf('/') + 1)
  }

  /** The hashed recipient for the search attribute; null if the attribute holds the plain address. */
  hashedRecipient(recipient: string): string | null {
    return this.#hmac === null ? null : hiddenName(addressKey(recipient), this.#hmac)
  }
}
