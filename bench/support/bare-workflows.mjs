// The baseline, plain Temporal: for each retry a timer and a send, and a suppression at the end.
import { defineSearchAttributeKey } from '@temporalio/common'
import { proxyActivities, proxyLocalActivities, sleep, upsertSearchAttributes } from '@temporalio/workflow'

const options = { startToCloseTimeout: '45m', heartbeatTimeout: '30s', retry: { initialInterval: '5s', maximumInterval: '10m' } }
const { sendMessage, suppressAddress } = proxyActivities(options)
const { prepare } = proxyLocalActivities(options)
const key = (name) => defineSearchAttributeKey(name, 'KEYWORD')

/** The same steps as retryBouncedMessage: the bounce is prepared, and the four search attributes of the contract are set. */
export async function bareRetries(message) {
  const prepared = await prepare(message)
  upsertSearchAttributes([
    { key: key('BounceRecipient'), value: prepared.recipient },
    { key: key('BounceDestination'), value: prepared.destination },
    { key: key('BounceStatus'), value: message.bounce.status },
  ])
  const result = await retry(prepared)
  upsertSearchAttributes([{ key: key('BounceOutcome'), value: result.outcome }])
  return result
}

/** Nothing but timers and sends. */
export const timersAndSends = (message) => retry(message.prepared)

async function retry(prepared) {
  const attempts = []
  for (const [i, delayMs] of prepared.delaysMs.entries()) {
    await sleep(delayMs)
    const { attempt } = await sendMessage({ ...order(prepared), retry: i + 1 })
    attempts.push(attempt)
    if (attempt.outcome === 'accepted') return { outcome: 'delivered', confirmed: true, retries: i + 1, attempts }
  }
  const { suppressedUntil } = await suppressAddress(order(prepared))
  return { outcome: 'suppressed', suppressedUntil, retries: prepared.delaysMs.length, attempts }
}

const order = ({ messageId, recipient, sender, messageKey, destination }) => ({ messageId, recipient, sender, messageKey, destination })
