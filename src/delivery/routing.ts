/** Where a message goes next: a static route, the relay, or the mail hosts of its recipient's domain; and which permits it needs. */
import { parseAddress } from '../bounce/index.js'
import { findPolicy, keepPolicy } from '../store/index.js'
import type { LimiterKey } from '../throttle/index.js'
import { configuredLimits, relayKey } from '../throttle/index.js'
import type { DeliveryContext } from './context.js'
import { destinationOfHost } from './destination.js'
import { StsPolicies, type StsPolicy } from './mta-sts.js'
import { type MailHosts, mailHosts, type Resolve, resolverOf } from './mx.js'
import { type NextHop, nameOf, nextHopFor } from './next-hop.js'
import { classifyLookup, type SendOutcome } from './outcome.js'
import { allowedHosts, nextHopTo, reachableHosts } from './smtp/try-hosts.js'

/** The route; or an outcome that is known without contacting a server; or why there is no route. */
export type Routing =
  | {
      readonly kind: 'way'
      /** In the order of trial; all of one kind and one destination. */
      readonly paths: readonly [NextHop, ...NextHop[]]
      /** Further mail hosts, of other destinations: each needs a permit of its own. */
      readonly beyond: readonly { readonly system: string; readonly paths: readonly NextHop[]; readonly permit: LimiterKey }[]
      /** The destination. */
      readonly system: string
      /** The permits that it needs, the destination's first. */
      readonly permits: readonly LimiterKey[]
      readonly maxDeliveriesPerConnection: number
    }
  | { readonly kind: 'judged'; readonly outcome: SendOutcome }
  | { readonly kind: 'none'; readonly text: string }

export type Route = Extract<Routing, { kind: 'way' }>

/** The key of the connection pool: the destination, or the relay that the message goes through. */
export const connectionKey = (way: Route): string => way.permits.find(({ needsConnection }) => needsConnection)?.name ?? way.system

/** How long a look-up is cached; a failed one is cached for less. */
const FRESH_MS = 60_000
/** Less than the wait after a failure, so that the next try looks up again. */
const FAILURE_FRESH_MS = 3_000
const MOST_KEPT = 10_000

interface NameServers {
  readonly resolve: Resolve
  readonly policies: StsPolicies
}

export class Router {
  readonly #known = new Map<string, { readonly until: number; readonly found: Promise<MailHosts> }>()
  #names: NameServers | undefined

  constructor(private readonly dependencies: DeliveryContext) {}

  async resolve(recipient: string, destination: string): Promise<Routing> {
    const { settings } = this.dependencies
    const { throttle, direct } = settings
    const path = nextHopFor(destination, settings.paths)
    if (path !== null) {
      const relay = path.kind === 'system' ? [] : [this.#relayKey(path)]
      const limits = this.#limits(destination)
      // a relay's answers are no feedback on the destination: its rate does not adapt, but pauses and manual limits apply
      const own: LimiterKey =
        path.kind === 'relay'
          ? {
              name: destination,
              limits: { ...limits, minMessageRate: limits.maxMessageRate },
              needsConnection: false,
              fixed: true,
              nextHop: nameOf(path),
            }
          : { name: destination, limits, needsConnection: path.kind === 'system', fixed: false, nextHop: nameOf(path) }
      return {
        kind: 'way',
        paths: [path],
        beyond: [],
        system: destination,
        permits: [own, ...relay],
        maxDeliveriesPerConnection: path.kind === 'system' ? limits.maxDeliveriesPerConnection : throttle.relay.maxDeliveriesPerConnection,
      }
    }
    if (direct === null)
      return { kind: 'none', text: `no way to ${destination} is set: neither a route in routes, nor relay.url, nor direct.enabled` }
    const { domain } = parseAddress(recipient)
    const found = await this.#mailHosts(domain)
    if (found.kind !== 'hosts') return { kind: 'judged', outcome: classifyLookup(found, domain) }
    const policy = direct.mtaSts ? await this.#nameServers().policies.policyOf(domain, this.dependencies.now()) : null
    const allowed = allowedHosts(found.hosts, policy)
    if (allowed.length === 0) {
      const names = [...new Set(found.hosts.map(({ name }) => name))].join(', ')
      const reply = `none of the mail hosts of ${domain} (${names}) is one that its MTA-STS policy names`
      return { kind: 'judged', outcome: { kind: 'deferred', status: '4.7.5', reply, stage: 'MX', mailServer: domain } }
    }
    const hosts = reachableHosts(allowed, direct.bindAddresses)
    if (hosts.length === 0)
      return {
        kind: 'judged',
        outcome: {
          kind: 'local failure',
          noRoute: true,
          text: `no mail host of ${domain} can be reached from smtp.bindAddresses: they are all of the other address family`,
        },
      }
    const groups: { system: string; paths: NextHop[] }[] = []
    for (const host of hosts) {
      const system = destinationOfHost(host.name, throttle.groups)
      const group = groups.find((one) => one.system === system)
      if (group === undefined) groups.push({ system, paths: [nextHopTo(host, policy, direct)] })
      else group.paths.push(nextHopTo(host, policy, direct))
    }
    const [own, ...beyond] = groups as [(typeof groups)[number], ...typeof groups]
    const permitOf = (system: string): LimiterKey => ({
      name: system,
      limits: this.#limits(system),
      needsConnection: true,
      fixed: false,
      nextHop: 'direct',
    })
    return {
      kind: 'way',
      paths: own.paths as [NextHop, ...NextHop[]],
      beyond: beyond.map((group) => ({ ...group, permit: permitOf(group.system) })),
      system: own.system,
      permits: [permitOf(own.system)],
      maxDeliveriesPerConnection: this.#limits(own.system).maxDeliveriesPerConnection,
    }
  }

  /**
   * The backup relay for an urgent message; null if none is set. It has a limiter of its own: a destination that is down does not delay it,
   * and gets no feedback from it.
   */
  backupTo(): Route | null {
    const { backup: path, throttle } = this.dependencies.settings
    if (path === null) return null
    const { maxDeliveriesPerConnection } = throttle.relay
    const permit = this.#relayKey(path)
    return { kind: 'way', paths: [path], beyond: [], system: permit.name, permits: [permit], maxDeliveriesPerConnection }
  }

  /** The first mail host of a recipient, if mail is delivered directly and the look-up succeeds; else null. */
  async mailHost(recipient: string): Promise<string | null> {
    if (this.dependencies.settings.direct === null) return null
    const found = await this.#mailHosts(parseAddress(recipient).domain)
    return found.kind === 'hosts' ? (found.hosts[0]?.name ?? null) : null
  }

  #relayKey(path: NextHop): LimiterKey {
    return {
      name: relayKey(nameOf(path)),
      limits: this.dependencies.settings.throttle.relay,
      needsConnection: true,
      fixed: true,
      nextHop: nameOf(path),
    }
  }

  #limits(system: string) {
    return configuredLimits(this.dependencies.settings.throttle, system)
  }

  #nameServers(): NameServers {
    if (this.#names !== undefined) return this.#names
    const { settings, database } = this.dependencies
    const resolve = resolverOf(settings.direct?.dnsServers ?? [])
    const store = {
      find: (domain: string) => findPolicy(database.db, domain),
      keep: (domain: string, policy: StsPolicy) => keepPolicy(database.db, domain, policy),
    }
    const policies = new StsPolicies(resolve, store, settings.direct?.allowPrivateMx === true)
    this.#names = { resolve, policies }
    return this.#names
  }

  async #mailHosts(domain: string): Promise<MailHosts> {
    const { direct } = this.dependencies.settings
    if (direct === null) throw new Error('mail does not go directly')
    const kept = this.#known.get(domain)
    if (kept !== undefined && kept.until > Date.now()) return kept.found
    if (this.#known.size > MOST_KEPT) this.#known.clear()
    const found = mailHosts(domain, direct, this.#nameServers().resolve)
    this.#known.set(domain, { until: Date.now() + FRESH_MS, found })
    const known = await found
    if (known.kind === 'local' || known.kind === 'unresolved') this.#known.set(domain, { until: Date.now() + FAILURE_FRESH_MS, found })
    return known
  }
}
