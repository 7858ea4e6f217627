/**
 * MTA-STS (RFC 8461): whether a domain requires verified TLS, and for which hosts. mailauth reads records and parses policies; policies are
 * fetched here, with limits on size and time and never from inside our own network, because the server is not trusted. A policy applies
 * until it expires, even if its record can no longer be looked up.
 */
import { request } from 'node:https'
import { isOutside, type Resolve } from './mx.js'

export interface StsPolicy {
  readonly id: string
  readonly mode: 'enforce' | 'testing' | 'none'
  readonly mx: readonly string[]
  readonly fetchedAt: Date
  readonly expiresAt: Date
}

/** Storage for policies. */
export interface PolicyStore {
  find(domain: string): Promise<StsPolicy | null>
  keep(domain: string, policy: StsPolicy): Promise<void>
}

/** A process looks up a domain's record at most once in this time (RFC 8461 section 3.1: a changed id announces a new policy). */
const ASK_EVERY_MS = 5 * 60_000
/** A policy is fetched again after a day, well before it expires (section 3.3). */
const REFRESH_AFTER_MS = 24 * 60 * 60_000
const FETCH_WITHIN_MS = 30_000
/** The maximum that section 3.3 suggests; real policies have a few hundred bytes. */
const MOST_BYTES = 64 * 1024

/** Looks up and caches the policies of recipient domains. */
export class StsPolicies {
  readonly #asked = new Map<string, { readonly at: number; readonly policy: Promise<StsPolicy | null> }>()

  /** @param allowPrivateMx a policy may be served from loopback and private addresses too. */
  constructor(
    private readonly resolve: Resolve,
    private readonly store: PolicyStore,
    private readonly allowPrivateMx: boolean,
  ) {}

  /** The policy in force now; null if there is none, or it could not be fetched (section 5.1: mail is sent as if there were none). */
  policyOf(domain: string, now: Date): Promise<StsPolicy | null> {
    const recent = this.#asked.get(domain)
    if (recent !== undefined && now.getTime() - recent.at < ASK_EVERY_MS) return recent.policy
    if (this.#asked.size > 10_000) this.#asked.clear()
    const policy = this.#lookUp(domain, now)
    this.#asked.set(domain, { at: now.getTime(), policy })
    policy.catch(() => this.#asked.delete(domain))
    return policy
  }

  async #lookUp(domain: string, now: Date): Promise<StsPolicy | null> {
    const { parsePolicy, resolvePolicy } = await import('mailauth/lib/mta-sts.js')
    const stored = await this.store.find(domain)
    const kept = stored !== null && stored.expiresAt > now ? stored : null
    let policy: StsPolicy
    try {
      const id = await resolvePolicy(domain, { resolver: this.resolve as (name: string, type: string) => Promise<string[]> })
      const fresh = kept !== null && now.getTime() - kept.fetchedAt.getTime() < REFRESH_AFTER_MS
      if (typeof id !== 'string' || (id === kept?.id && fresh)) return kept
      const fetched = parsePolicy(await this.#fetch(`mta-sts.${domain}`))
      // parsePolicy rejects a missing max_age, and one of more than a year (section 3.2)
      const seconds = fetched.maxAge as number
      const mode = fetched.mode as StsPolicy['mode']
      policy = { id, mode, mx: fetched.mx ?? [], fetchedAt: now, expiresAt: new Date(now.getTime() + seconds * 1000) }
    } catch {
      return kept
    }
    await this.store.keep(domain, policy)
    return policy
  }

  /** Section 3.3: over verified TLS, from the host itself, without redirects. */
  async #fetch(host: string): Promise<string> {
    const addresses = (await this.resolve(host, 'A').catch(() => this.resolve(host, 'AAAA'))) as string[]
    const address = addresses.find((one) => this.allowPrivateMx || isOutside(one))
    if (address === undefined) throw new Error(`${host} has no public address`)
    return new Promise((resolve, reject) => {
      const options = {
        host: address,
        servername: host,
        path: '/.well-known/mta-sts.txt',
        headers: { host },
        signal: AbortSignal.timeout(FETCH_WITHIN_MS),
      }
      const asking = request(options, (response) => {
        if (response.statusCode !== 200) {
          asking.destroy(new Error(`${host} answered ${response.statusCode}`))
          return
        }
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
          if (text.length > MOST_BYTES) asking.destroy(new Error(`the policy of ${host} is too long`))
        })
        response.on('end', () => resolve(text))
        response.on('error', reject)
      })
      asking.on('error', reject)
      asking.end()
    })
  }
}

/** True if the policy allows this host for the domain's mail; `*.` matches exactly one label (section 4.1). */
export function isAllowed(host: string, policy: Pick<StsPolicy, 'mx'>): boolean {
  const name = host.toLowerCase()
  const above = name.slice(name.indexOf('.') + 1)
  return policy.mx.some((pattern) => (pattern.startsWith('*.') ? pattern.slice(2).toLowerCase() === above : pattern.toLowerCase() === name))
}
