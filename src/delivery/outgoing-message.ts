/** What one attempt sends: the return path, and the bytes with their DKIM signature; and the provider's message ID for it. */

import { addressKey, envelopeAddress, isRetry, parseAddress, type ReturnPathToken, sendOfAttempt } from '../bounce/index.js'
import { type Provider, providerIdIn, withToken } from '../providers/index.js'
import { findSent, recordProviderId, recordSent, storeId, storeNumber } from '../store/index.js'
import type { DeliveryContext } from './context.js'
import { isAuthoredBy, signaturesExpireAt } from './dkim-expiry.js'
import { type DkimKey, signMessage } from './dkim-signer.js'
import type { NextHop } from './next-hop.js'
import { dayOf, sentId, signReturnPath, signToken } from './return-path.js'
import type { SendOrder } from './send-order.js'

export class OutgoingMessage {
  /** The provider whose presets apply to the relay. */
  readonly #provider: Provider | null
  /** The key that signs the message if it is sent without a relay. */
  readonly #dkim: DkimKey | null

  private constructor(
    private readonly order: SendOrder,
    private readonly message: Buffer,
    kind: NextHop['kind'],
    private readonly dependencies: DeliveryContext,
    private readonly token: ReturnPathToken | null,
  ) {
    const { relayPreset, dkim } = dependencies.settings
    this.#provider = kind === 'relay' && isRetry(order) ? relayPreset : null
    this.#dkim = kind === 'system' ? (dkim.find(({ domain }) => isAuthoredBy(message, domain)) ?? null) : null
  }

  /** @param database runs a step on the database; its failure is a local failure. */
  static async of(
    order: SendOrder,
    message: Buffer,
    kind: NextHop['kind'],
    dependencies: DeliveryContext,
    database: <T>(step: () => Promise<T>) => Promise<T>,
  ): Promise<OutgoingMessage> {
    return new OutgoingMessage(order, message, kind, dependencies, await database(() => tokenFor(order, kind, dependencies)))
  }

  /** The envelope sender. */
  get sender(): string {
    const { returnPaths } = this.dependencies.settings
    const { sender } = this.order
    if (this.token === null || returnPaths === null) return envelopeAddress(parseAddress(sender))
    return signReturnPath(returnPaths, this.token, sender)
  }

  /** The bytes to send: with a DKIM signature, or with the token in the header that the provider returns. */
  async content(): Promise<Buffer> {
    const { returnPaths } = this.dependencies.settings
    if (this.#dkim !== null) return signMessage(this.message, this.#dkim)
    if (this.#provider === null || this.token === null || returnPaths === null) return this.message
    return withToken(this.#provider, this.message, signToken(returnPaths, this.token))
  }

  /** The reason if it would arrive unsigned: its own signatures have expired, and we do not sign it. Else null. */
  signaturesRanOut(now: Date): string | null {
    const until = this.#dkim === null ? signaturesExpireAt(this.message, this.order.sender) : null
    return until === null || now <= until ? null : `its DKIM signatures ran out at ${until.toISOString()}`
  }

  /** Records the provider's message ID, which the provider's events refer to. */
  async recordProviderName(reply: string): Promise<void> {
    if (this.#provider === null) return
    const name = providerIdIn(this.#provider, reply)
    if (name === null) return
    const { messageId, recipient } = this.order
    const { database, now } = this.dependencies
    const as = { sentId: sentId(messageId, recipient), send: sendOfAttempt(this.order) }
    await recordProviderId(database.db, this.#provider, name, as, now())
  }
}

/**
 * Through a relay, each retry has its own return path, so that a bounce identifies the retry; otherwise every retry uses the original's,
 * because greylisting goes by sender, recipient and host. Null if return paths are not signed.
 */
async function tokenFor(order: SendOrder, kind: NextHop['kind'], dependencies: DeliveryContext): Promise<ReturnPathToken | null> {
  const { messageId, recipient, sender, messageKey } = order
  const { returnPaths } = dependencies.settings
  if (returnPaths === null) return null
  const { db } = dependencies.database
  const id = sentId(messageId, recipient)
  const now = dependencies.now()
  // recorded before the return path is used, even if the retries began before a key was configured
  const known = await findSent(db, id)
  const row = {
    id,
    messageId,
    recipient: addressKey(recipient),
    envelopeRecipient: recipient,
    sender,
    messageKey,
    sentAt: now,
    options: null,
  }
  if (known === null) await recordSent(db, row)
  const store = storeNumber(await storeId(dependencies.database))
  const [day, today] = [dayOf(known?.sentAt ?? now), dayOf(now)]
  if (kind === 'relay') return { id, day: today, send: sendOfAttempt(order), store }
  // renew a return path that could expire before a bounce arrives
  return { id, day: today - day > returnPaths.validDays / 2 ? today : day, send: 0, store }
}
