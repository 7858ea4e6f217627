/**
 * Workflow IDs and search attributes, which no codec encrypts: with keys set they hold an HMAC of recipient and Message-ID in their place
 * (docs/protocol.md has the rule). What began under an older key, or before there was one, is found all the same.
 */
import { createHash, createHmac } from 'node:crypto'
import { addressKey, type Hmac, hiddenName, hiddenWorkflowId, workflowId } from '../bounce/index.js'
import type { EncryptionKey } from '../config/index.js'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

export class Names {
  /** One for each key, the first for what is new. */
  readonly #hmacs: readonly Hmac[]

  constructor(keys: readonly EncryptionKey[]) {
    this.#hmacs = keys.map(({ bytes }) => {
      const key = createHmac('sha256', bytes).update('softbounce workflow id').digest()
      return (text) => createHmac('sha256', key).update(text).digest('hex')
    })
  }

  /** The workflow ID of a message and recipient. @throws Error where one of them is not one. */
  workflowId(recipient: string, messageId: string): string {
    return this.workflowIds(recipient, messageId)[0] as string
  }

  /** The same first, and then those that it may have begun under. */
  workflowIds(recipient: string, messageId: string): readonly string[] {
    return [...this.#hmacs.map((hmac) => hiddenWorkflowId(recipient, messageId, hmac)), workflowId(recipient, messageId, sha256)]
  }

  /** What the workflow IDs of a recipient begin with. */
  prefixes(recipient: string): readonly string[] {
    return this.workflowIds(recipient, 'x').map((id) => id.slice(0, id.lastIndexOf('/') + 1))
  }

  /** The recipient as the search attribute has it; null where that is the address itself. */
  hiddenRecipient(recipient: string): string | null {
    const [hmac] = this.#hmacs
    return hmac === undefined ? null : hiddenName(addressKey(recipient), hmac)
  }
}
