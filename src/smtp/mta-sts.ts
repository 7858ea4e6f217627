/**
 * MTA-STS (RFC 8461): whether a domain asks for verified TLS, and with which hosts. mailauth looks up, fetches and matches; what is kept, and
 * for how long, is decided here: a policy holds until it runs out, also where its record can no longer be asked for.
 */
import { fetchPolicy, resolvePolicy, validateMx } from 'mailauth/lib/mta-sts.js'
import type { Resolve } from './mail-hosts.js'

export interface StsPolicy {
  readonly id: string
  readonly mode: 'enforce' | 'testing' | 'none'
  readonly mx: readonly string[]
  readonly expiresAt: Date
}

/** Where policies are kept. */
export interface PolicyStore {
  find(domain: string): Promise<StsPolicy | null>
  keep(domain: string, policy: StsPolicy): Promise<void>
}

/** Within a process a record is asked for once in this time (RFC 8461 section 3.1: its change tells of a new policy). */
const ASK_EVERY_MS = 5 * 60_000
/** RFC 8461 section 3.2. */
const LONGEST_AGE_S = 31_557_600

/** The policies of the domains that mail goes to. */
export class StsPolicies {
  readonly #resolve: Resolve
  readonly #store: PolicyStore
  readonly #asked = new Map<string, { readonly at: number; readonly policy: StsPolicy | null }>()

  constructor(resolve: Resolve, store: PolicyStore) {
    this.#resolve = resolve
    this.#store = store
  }

  /** The policy that holds now; null where there is none, or it could not be had (section 5.1: then mail goes as if there were none). */
  async policyOf(domain: string, now: Date): Promise<StsPolicy | null> {
    const recent = this.#asked.get(domain)
    if (recent !== undefined && now.getTime() - recent.at < ASK_EVERY_MS) return recent.policy
    const policy = await this.#lookUp(domain, now)
    if (this.#asked.size > 10_000) this.#asked.clear()
    this.#asked.set(domain, { at: now.getTime(), policy })
    return policy
  }

  async #lookUp(domain: string, now: Date): Promise<StsPolicy | null> {
    const stored = await this.#store.find(domain)
    const kept = stored !== null && stored.expiresAt > now ? stored : null
    try {
      const id = await resolvePolicy(domain, { resolver: this.#resolve as (name: string, type: string) => Promise<string[]> })
      if (typeof id !== 'string' || id === kept?.id) return kept
      const fetched = await fetchPolicy(domain, { resolver: this.#resolve as (name: string, type: string) => Promise<string[]> })
      if (!fetched) return kept
      const seconds = Math.min(Number(fetched.maxAge ?? 0), LONGEST_AGE_S)
      const policy: StsPolicy = {
        id,
        mode: fetched.mode as StsPolicy['mode'],
        mx: fetched.mx ?? [],
        expiresAt: new Date(now.getTime() + seconds * 1000),
      }
      await this.#store.keep(domain, policy)
      return policy
    } catch {
      return kept
    }
  }
}

/** True where the policy lets this host take the domain's mail. */
export function isAllowed(host: string, policy: StsPolicy): boolean {
  return validateMx(host, { mode: policy.mode, mx: [...policy.mx] } as never).valid
}
