/**
 * MTA-STS (RFC 8461): whether a domain asks for verified TLS, and with which hosts. mailauth reads records and policies. They are fetched
 * here, since a stranger's server answers: so much and no more, for so long and no longer, and never inside our own network. A policy holds
 * until it runs out, also if its record can no longer be asked for.
 */
import { request } from 'node:https'
import { parsePolicy, resolvePolicy } from 'mailauth/lib/mta-sts.js'
import { isOutside, type Resolve } from './mx.js'

export interface StsPolicy {
  readonly id: string
  readonly mode: 'enforce' | 'testing' | 'none'
  readonly mx: readonly string[]
  readonly fetchedAt: Date
  readonly expiresAt: Date
}

/** Where policies are kept. */
export interface PolicyStore {
  find(domain: string): Promise<StsPolicy | null>
  keep(domain: string, policy: StsPolicy): Promise<void>
}

/** Within a process a record is asked for once in this time (RFC 8461 section 3.1: its change tells of a new policy). */
const ASK_EVERY_MS = 5 * 60_000
/** A policy is fetched again after a day, well before it runs out (section 3.3). */
const REFRESH_AFTER_MS = 24 * 60 * 60_000
const FETCH_WITHIN_MS = 30_000
/** Section 3.2 asks for no less; policies have a few hundred bytes. */
const MOST_BYTES = 64 * 1024

/** The policies of the domains that mail goes to. */
export class StsPolicies {
  readonly #asked = new Map<string, { readonly at: number; readonly policy: Promise<StsPolicy | null> }>()

  /** @param allowPrivateMx a policy may be served from loopback and private addresses too. */
  constructor(
    private readonly resolve: Resolve,
    private readonly store: PolicyStore,
    private readonly allowPrivateMx: boolean,
  ) {}

  /** The policy that holds now; null if there is none, or it could not be had (section 5.1: then mail goes as if there were none). */
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
    const stored = await this.store.find(domain)
    const kept = stored !== null && stored.expiresAt > now ? stored : null
    let policy: StsPolicy
    try {
      const id = await resolvePolicy(domain, { resolver: this.resolve as (name: string, type: string) => Promise<string[]> })
      const fresh = kept !== null && now.getTime() - kept.fetchedAt.getTime() < REFRESH_AFTER_MS
      if (typeof id !== 'string' || (id === kept?.id && fresh)) return kept
      const fetched = parsePolicy(await this.#fetch(`mta-sts.${domain}`))
      // none is accepted without an age, or with one beyond a year (section 3.2)
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

/** True if the policy lets this host take the domain's mail; `*.` stands for exactly one label (section 4.1). */
export function isAllowed(host: string, policy: Pick<StsPolicy, 'mx'>): boolean {
  const name = host.toLowerCase()
  const above = name.slice(name.indexOf('.') + 1)
  return policy.mx.some((pattern) => (pattern.startsWith('*.') ? pattern.slice(2).toLowerCase() === above : pattern.toLowerCase() === name))
}
