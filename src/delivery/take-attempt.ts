/** Takes a retry that is to be sent now: its permits, its row of the attempt log, and its message; and an open connection, if there is one. */
import { randomUUID } from 'node:crypto'
import type { ClaimedRow } from '../store/index.js'
import { acquirePermit, type Permit, type PermitSubject } from './acquire-permit.js'
import { AttemptClaim, firstClaimUntil } from './claim.js'
import { connectionKey, type Route } from './routing.js'
import type { SendContext } from './send-context.js'
import type { SendTransactions, Taken } from './send-transactions.js'
import type { ConnectionPool } from './smtp/connection-pool.js'

export interface TakenAttempt {
  readonly kind: 'taken'
  readonly permit: Permit
  readonly claim: AttemptClaim
  readonly row: ClaimedRow
  /** The stored message; null if it is gone. */
  readonly content: Buffer | null
}

/** @throws ApplicationFailure of type Waiting if its permit is not granted yet: when to poll again, and why. */
export async function takeAttempt(
  send: SendContext,
  subject: PermitSubject,
  route: Route,
  connections: ConnectionPool,
  transactions: SendTransactions,
): Promise<TakenAttempt | Extract<Taken, { kind: 'answered' | 'held' | 'suppressed' }>> {
  const { dependencies, activity, order } = send
  const peer = connectionKey(route)
  const [newLeaseId, claim] = [randomUUID(), randomUUID()]
  const expected: (() => void)[] = []
  const ask = async () => {
    const open = connections.take(peer, route.paths)
    const putBack = () => open !== null && connections.keep(peer, open, (leaseId) => transactions.release(leaseId))
    const leaseId = open?.leaseId ?? newLeaseId
    const at = send.now()
    const request = {
      ...{ waiter: { ...subject, leaseId, hasConnection: open !== null }, wanted: route.permits },
      ...{ subject: { ...send.subject, destination: route.system }, messageKey: order.messageKey },
      ...{ claim, at, until: firstClaimUntil(at) },
    }
    const taken = await transactions.take(request).catch((error) => {
      putBack()
      throw error
    })
    if (taken.kind !== 'taken') {
      putBack()
      if (taken.kind === 'wait' && taken.why === 'connection limit') expected[0] ??= connections.expect(peer)
      return taken
    }
    dependencies.metrics?.permitAcquired(taken.waitedMs)
    return {
      ...{ kind: 'taken' as const, row: taken.row, content: taken.content, permit: { leaseId, open, polls: taken.polls } },
      claim: new AttemptClaim(send.subject, send.about, dependencies, transactions, claim),
    } as const
  }
  try {
    return await acquirePermit(subject, activity, dependencies, ask)
  } finally {
    expected[0]?.()
  }
}
