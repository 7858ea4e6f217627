/**
 * Idle connections: the next message for the same hosts reuses one instead of connecting again. Each is kept under the lease that it was
 * opened with, and closed together with it.
 */
import type { NextHop } from '../next-hop.js'
import type { SmtpSession } from './client.js'

/** An open connection, its next hop, and the lease that counts it. */
export interface PooledConnection {
  readonly path: NextHop
  readonly session: SmtpSession
  readonly leaseId: string
  /** Closed at this time (epoch ms) unless taken first. */
  readonly idleUntil: number
}

interface Idle extends PooledConnection {
  readonly system: string
  readonly timer: NodeJS.Timeout
}

const MOST_SYSTEMS = 1000
/** How long an observed limit applies: the server may just have been shutting down. */
const BELIEVED_MS = 10 * 60_000

export class ConnectionPool {
  readonly #idle: Idle[] = []
  /** How many messages of this process wait for a connection, by where to. */
  readonly #expected = new Map<string, number>()
  /** Observed limits: after how many messages a server ended a session. */
  readonly #most = new Map<string, { readonly messages: number; readonly until: number }>()

  /** Takes an idle session to the first of these next hops that has one out of the pool; the caller then owns it. */
  take(system: string, paths: readonly NextHop[]): PooledConnection | null {
    for (const path of paths) {
      const at = this.#idle.findIndex((idle) => idle.system === system && idle.session.isOpen && isSameWay(idle.path, path))
      if (at < 0) continue
      const [{ session, leaseId, idleUntil, timer }] = this.#idle.splice(at, 1) as [Idle]
      clearTimeout(timer)
      return { path, session, leaseId, idleUntil }
    }
    return null
  }

  /** A message of this process waits for a connection there, and will take the next idle one. @returns a function that ends this. */
  expect(system: string): () => void {
    this.#expected.set(system, (this.#expected.get(system) ?? 0) + 1)
    return () => {
      const left = (this.#expected.get(system) ?? 1) - 1
      if (left > 0) this.#expected.set(system, left)
      else this.#expected.delete(system)
    }
  }

  /** Whether a message of this process waits for a connection there. */
  isExpected(system: string): boolean {
    return this.#expected.has(system)
  }

  /** The observed limit of messages per session; infinite if none is known. */
  mostIn(system: string): number {
    const known = this.#most.get(system)
    return known === undefined || known.until < Date.now() ? Number.POSITIVE_INFINITY : known.messages
  }

  /** Records that the server ended a session after so many messages. */
  endedAfter(system: string, messages: number): void {
    this.#most.delete(system)
    this.#most.set(system, { messages: Math.max(1, messages), until: Date.now() + BELIEVED_MS })
    if (this.#most.size > MOST_SYSTEMS) this.#most.delete(this.#most.keys().next().value as string)
  }

  /**
   * Keeps a session for the next message, until `idleUntil`.
   * @param onEnd called once the session has been closed unused.
   */
  keep(system: string, held: PooledConnection, onEnd: (leaseId: string) => void): void {
    const idle: Idle = {
      ...held,
      system,
      timer: setTimeout(
        () => {
          const at = this.#idle.indexOf(idle)
          if (at < 0) return
          this.#idle.splice(at, 1)
          held.session.end().then(() => onEnd(held.leaseId))
        },
        Math.max(0, held.idleUntil - Date.now()),
      ),
    }
    this.#idle.push(idle)
  }

  /** Closes all idle sessions. @returns their leases. */
  end(): Promise<string[]> {
    return Promise.all(
      this.#idle.splice(0).map(async ({ session, leaseId, timer }) => {
        clearTimeout(timer)
        await session.end()
        return leaseId
      }),
    )
  }
}

/** True if a session to one next hop can be used for the other. */
function isSameWay(a: NextHop, b: NextHop): boolean {
  return (
    a.kind === b.kind &&
    a.host === b.host &&
    a.port === b.port &&
    a.tls === b.tls &&
    a.servername === b.servername &&
    a.localAddress === b.localAddress &&
    a.credentials?.user === b.credentials?.user
  )
}
