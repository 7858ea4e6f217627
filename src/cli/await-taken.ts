/** Waits until a started workflow has taken its bounce, and says what came of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RetryDescription, SoftbounceClient, StartedRetry } from '../client/index.js'
import { describeProgress } from './describe-progress.js'

const WITHIN_MS = 10_000
/** A problem must last that long: the first try of an activity may fail and the second succeed. */
const HELD_AFTER_MS = 2_000
const POLL_MS = 200
const OPEN: ReadonlySet<string> = new Set(['waiting', 'sending', 'confirming'])

/** What came of a start. */
export interface Taken {
  /** `waits`: the retry waits for its time, or is being sent. `ended`: it had ended before, or ended at once. `held`: it waits for something else. */
  readonly state: 'waits' | 'ended' | 'held'
  readonly text: string
}

/** Polls until the bounce is taken, or is known to be held; 10 s at most. */
export async function awaitTaken(client: SoftbounceClient, { workflowId, runId }: StartedRetry): Promise<Taken> {
  const begunAt = Date.now()
  for (;;) {
    const description = await client.getById(workflowId)
    const waitedMs = Date.now() - begunAt
    const taken = description === null ? null : takenOf(description, waitedMs)
    if (taken !== null) return taken
    if (waitedMs > WITHIN_MS)
      return {
        state: 'held',
        text: `no worker has taken run ${runId} within ${WITHIN_MS / 1000} s: it goes on as soon as a worker runs (softbounce worker); its schedule counts from the bounce`,
      }
    await sleep(POLL_MS)
  }
}

function takenOf(description: RetryDescription, waitedMs: number): Taken | null {
  const { status, progress, trouble, result, startedAt } = description
  if (status !== 'RUNNING') {
    const last = result?.attempts.at(-1)
    const isEarlier = result !== null && (last === undefined || Date.parse(last.at) < startedAt.getTime())
    return {
      state: 'ended',
      text: `${isEarlier ? 'it had ended before: ' : ''}${describeProgress(description)}${isEarlier ? '; --again starts it again' : ''}`,
    }
  }
  if (progress !== null && OPEN.has(progress.state) && trouble === null) return { state: 'waits', text: describeProgress(description) }
  if (trouble?.waiting) return { state: 'waits', text: describeProgress(description) }
  return trouble !== null && waitedMs > HELD_AFTER_MS ? { state: 'held', text: describeProgress(description) } : null
}
