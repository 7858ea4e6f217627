/** What the retries of a message are doing, in one sentence. */
import { formatDuration, isRetry } from '../bounce/index.js'
import type { RetryDescription } from '../client/index.js'

type Progress = NonNullable<RetryDescription['progress']>

export function describeProgress(description: RetryDescription): string {
  const { status, progress, result, trouble, failure } = description
  if (status === 'COMPLETED' && result === null)
    return 'completed; its result is encrypted under a key that is not among encryption.keys here'
  if (result !== null) return describeResult(result)
  if (status !== 'RUNNING') return failure === null ? status.toLowerCase() : `${status.toLowerCase()}: ${failure}`
  const held = trouble === null ? '' : `${trouble.waiting ? '; it waits' : '; held'}: ${trouble.text}`
  if (progress === null) return `open; no worker answers (or none that has its encryption.keys), so that no more is known${held}`
  return `${describeState(progress)}${held}`
}

function describeResult({ outcome, confirmed, suppressedUntil, retries }: NonNullable<RetryDescription['result']>): string {
  const until = suppressedUntil === undefined ? '' : ` until ${suppressedUntil}`
  const unconfirmed = outcome === 'delivered' && confirmed === false ? ', unconfirmed' : ''
  return `${outcome}${until}${unconfirmed} after ${retries} ${retries === 1 ? 'retry' : 'retries'}`
}

function describeState({ state, retry, of, nextRetryAt, lastAttempt }: Progress): string {
  const which = `retry ${retry} of ${of}`
  switch (state) {
    case 'preparing':
      return 'the bounce is being checked'
    case 'waiting': {
      if (nextRetryAt === null) return `${which} waits`
      const left = Date.parse(nextRetryAt) - Date.now()
      return `${which} waits ${left > 0 ? `for ${formatDuration(inRoundSeconds(left))}, ` : ''}until ${minute(nextRetryAt)}`
    }
    case 'sending':
      return `${which} is being sent`
    case 'confirming': {
      const until = nextRetryAt === null ? '' : ` until ${minute(nextRetryAt)}`
      const accepted = lastAttempt !== null && !isRetry(lastAttempt) ? 'the backup relay accepted it' : `the relay accepted ${which}`
      return `${accepted}; a report is awaited${until}`
    }
    case 'suppressing':
      return `no retry of ${of} is left; the address is being suppressed`
    default:
      return state
  }
}

/** `2026-11-26 14:05 UTC` */
const minute = (iso: string) => `${iso.slice(0, 16).replace('T', ' ')} UTC`

const inRoundSeconds = (ms: number) => Math.max(1000, Math.round(ms / 1000) * 1000)
