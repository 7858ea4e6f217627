/** Tells the alternative channel of an urgent message: a signed webhook (Standard Webhooks), with what and whom, never the body. */
import { Webhook } from 'standardwebhooks'
import type { Dependencies } from './dependencies.js'
import { describe, ourTrouble, refusal } from './failures.js'
import type { Subject } from './record-end.js'

export interface TellOrder extends Subject {
  readonly sender: string
  readonly destination: string
  readonly status: string
  readonly reply?: string
  readonly bouncedAtMs: number
}

const ANSWER_WITHIN_MS = 10_000

/** POSTs `bounce.retrying`; anything but a 2xx is tried again. The same `webhook-id` each time, so that the receiver acts once. */
export async function tellAlternative(order: TellOrder, attempt: number, dependencies: Dependencies): Promise<void> {
  const { settings, now } = dependencies
  // the setting was taken away since the message was prepared
  if (settings.webhook === null) throw refusal('InvalidBouncedMessage', 'WEBHOOK_URL is not set')
  const { url, secret } = settings.webhook
  const { messageId, sender, recipient, workflowId, destination, status, reply } = order
  const data = {
    messageId,
    sender,
    recipient,
    workflowId,
    destination,
    status,
    reply,
    bouncedAt: new Date(order.bouncedAtMs).toISOString(),
  }
  const timestamp = now()
  const body = JSON.stringify({ type: 'bounce.retrying', timestamp: timestamp.toISOString(), data })
  const id = `${order.firstRunId}.retrying`
  let response: Response
  try {
    response = await fetch(url, {
      method: 'POST',
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, timestamp, body),
      },
    })
  } catch (error) {
    const { cause } = error as { cause?: unknown }
    throw ourTrouble(`the webhook did not answer: ${describe(cause ?? error)}`, attempt)
  }
  await response.body?.cancel()
  if (!response.ok) throw ourTrouble(`the webhook answered ${response.status}`, attempt)
}
