/**
 * The mail hosts of a domain (RFC 5321 section 5.1): by MX, in order of preference, equal ones at random; without MX, the domain itself.
 * mx-connect looks them up; its errors are classified here, as the destination's answer or a local failure.
 */
import { Resolver } from 'node:dns'
import { isIP } from 'node:net'
import type { DetailedPeerCertificate } from 'node:tls'
import ipaddr from 'ipaddr.js'
import type mxConnect from 'mx-connect'
import { foldDomain } from '../bounce/index.js'
import { checkDane, type TlsaRecord, usableRecords } from './dane.js'

/** One address of one host. */
export interface MailHost {
  /** The host's name, or its address if it has none. */
  readonly name: string
  readonly address: string
  /** Set if there are TLSA records (DANE, RFC 7672), which require TLS: why a certificate fails verification, or null. */
  readonly checkPeer?: (certificate: DetailedPeerCertificate) => string | null
}

export type MailHosts =
  | { readonly kind: 'hosts'; readonly hosts: readonly MailHost[] }
  /** The domain accepts no mail (null MX, RFC 7505). */
  | { readonly kind: 'null mx'; readonly text: string }
  /** The domain does not exist, or has neither MX nor address records. */
  | { readonly kind: 'no domain'; readonly text: string }
  /** It has mail hosts, but none of them can be contacted. */
  | { readonly kind: 'unroutable'; readonly text: string }
  /** Name servers failed: the domain's, or the path to them. */
  | { readonly kind: 'unresolved'; readonly text: string }
  /** Our own resolver does not answer. */
  | { readonly kind: 'local'; readonly text: string }

export interface MailHostOptions {
  /** Name servers (`127.0.0.1:53`); if empty, the system's. */
  readonly dnsServers: readonly string[]
  readonly port: number
  /** Hosts with loopback and private addresses are contacted too. */
  readonly allowPrivateMx: boolean
  readonly dane: boolean
}

/** Looks up the records of one type. */
export type Resolve = (name: string, type: string) => Promise<unknown>

const DNS_TIMEOUT_MS = 10_000
const DNS_TRIES = 2
/** Most MX records that are used: a domain may list thousands, and each costs look-ups. */
const MOST_RECORDS = 20
const RESOLVER_SILENT = new Set(['ECONNREFUSED', 'ECANCELLED', 'EDESTRUCTION', 'ENOMEM', 'EOF', 'EFILE'])
const NOTHING_THERE = new Set(['ENOTFOUND', 'ENODATA'])
const NO_ANSWER = new Set(['ETIMEOUT', 'ETIMEDOUT'])
const NO_HOST_NAMED = 'ENOHOSTNAMED'

/** Allows underscores, which are invalid in host names but occur in practice. */
const isHostName = (exchange: string): boolean => foldDomain(exchange.replaceAll('_', '-')) !== null

export function resolverOf(dnsServers: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES })
  if (dnsServers.length > 0) resolver.setServers(dnsServers)
  return (name, type) =>
    new Promise((resolve, reject) => resolver.resolve(name, type, (error, records) => (error ? reject(error) : resolve(records))))
}

/** Looks the hosts up; never rejects. `resolve` must support MX, A, AAAA and TLSA; and NS of the root, queried after a timeout. */
export async function mailHosts(domain: string, options: MailHostOptions, resolve: Resolve): Promise<MailHosts> {
  const asked = { nullMx: false, mx: false, local: false }
  const lookUp = async (name: string, type: string) => {
    const records = await resolve(name, type)
    if (type === 'MX') {
      const list = records as { exchange: string; priority: number }[]
      asked.mx = list.length > 0
      asked.nullMx = list.length > 0 && list.every(({ exchange }) => exchange === '' || exchange === '.')
      // an invalid host name would be mistaken for another one later
      const named = list.filter(({ exchange }) => exchange === '' || isHostName(exchange))
      // with MX records, the domain's own address is not one of its mail hosts (RFC 5321 5.1)
      if (list.length > 0 && named.length === 0) throw Object.assign(new Error('no MX record names a host'), { code: NO_HOST_NAMED })
      return named.sort((a, b) => a.priority - b.priority).slice(0, MOST_RECORDS)
    }
    if ((type === 'A' || type === 'AAAA') && !options.allowPrivateMx) {
      const outside = (records as string[]).filter(isOutside)
      if (outside.length < (records as string[]).length) asked.local = true
      return outside
    }
    return records
  }
  const { default: connect } = await import('mx-connect')
  const found = new Promise<readonly mxConnect.MxHost[]>((done, fail) => {
    connect({
      target: domain,
      port: options.port,
      dnsOptions: {
        blockLocalAddresses: !options.allowPrivateMx,
        resolve: (name, type, callback) => {
          const [kind, tell] = typeof type === 'string' ? [type, callback] : ['A', type]
          lookUp(name, kind).then(
            (records) => tell?.(null, records as never),
            (error: NodeJS.ErrnoException) => tell?.(error),
          )
        },
      },
      dane: { enabled: options.dane, resolveTlsa: async (name) => (await resolve(name, 'TLSA')) as TlsaRecord[] },
      // only the hosts are needed: smtp/try-hosts.ts decides which to contact, and when to try the next
      connectHook: ({ mx }, _, stop) => {
        done(mx)
        stop(new Error('looked up'))
      },
    }).then(
      () => fail(new Error('it connected')),
      (error: Error) => fail(error),
    )
  })
  try {
    // an address given as a host name was not looked up, so it is filtered here
    const hosts = inOrder(await found, options.dane).filter(({ address }) => options.allowPrivateMx || isOutside(address))
    return hosts.length > 0 ? { kind: 'hosts', hosts } : onlyInside(domain)
  } catch (error) {
    const failed = error as NodeJS.ErrnoException & { category?: string }
    // a timeout is our own name servers' fault if they do not answer for the root either
    if (NO_ANSWER.has(failed.code ?? '') && !(await answersAtAll(resolve)))
      return { kind: 'local', text: `the mail hosts of ${domain} could not be looked up: our name servers answer nothing (${failed.code})` }
    return failure(domain, failed, asked)
  }
}

const answersAtAll = (resolve: Resolve): Promise<boolean> =>
  resolve('.', 'NS').then(
    () => true,
    ({ code = '' }: NodeJS.ErrnoException) => !NO_ANSWER.has(code) && !RESOLVER_SILENT.has(code),
  )

function failure(
  domain: string,
  error: NodeJS.ErrnoException & { readonly category?: string },
  asked: { readonly nullMx: boolean; readonly mx: boolean; readonly local: boolean },
): MailHosts {
  if (asked.nullMx) return { kind: 'null mx', text: `556 5.1.10 ${domain} takes no mail (null MX, RFC 7505)` }
  const code = error.code ?? ''
  const text = error.message.replace(/\s+/g, ' ').slice(0, 300)
  if (error.category === 'dane')
    return { kind: 'unresolved', text: `the TLSA records of ${domain}'s mail hosts could not be looked up: ${text}` }
  if (asked.local) return onlyInside(domain)
  if (RESOLVER_SILENT.has(code))
    return { kind: 'local', text: `the mail hosts of ${domain} could not be looked up: no name server of ours answers (${code})` }
  if (NOTHING_THERE.has(code) && !asked.mx)
    return { kind: 'no domain', text: `there is no mail host for ${domain}: no MX, and no address (${code})` }
  if (NOTHING_THERE.has(code) || code === 'InvalidIpAddress' || code === NO_HOST_NAMED || code === '')
    return { kind: 'unroutable', text: `none of the mail hosts of ${domain} has an address that can be met: ${text}` }
  return { kind: 'unresolved', text: `the mail hosts of ${domain} could not be looked up: name servers failed (${code})` }
}

const onlyInside = (domain: string): MailHosts => ({
  kind: 'unroutable',
  text: `none of the mail hosts of ${domain} has a public address (direct.allowPrivateMx allows loopback and private ones)`,
})

/** Each host's addresses one after another, IPv4 or IPv6 first at random; no address twice. */
function inOrder(mx: readonly mxConnect.MxHost[], dane: boolean): MailHost[] {
  const byChance = mx.map((host) => ({ host, chance: Math.random() }))
  byChance.sort((a, b) => a.host.priority - b.host.priority || a.chance - b.chance)
  const seen = new Set<string>()
  return byChance.flatMap(({ host, chance }) => {
    // a host whose TLSA records could not be looked up may not be contacted (RFC 7672 2.1.2)
    if (dane && host.daneLookupFailed) return []
    const [first, second] = chance < 0.5 ? [host.A, host.AAAA] : [host.AAAA, host.A]
    const records = (host.tlsaRecords ?? []) as readonly TlsaRecord[]
    return [...first, ...second]
      .filter((address) => !seen.has(address) && seen.add(address))
      .map((address) => {
        const name = host.exchange === '' || isIP(host.exchange) ? address : host.exchange.toLowerCase().replace(/\.$/, '')
        return { name, address, ...(records.length === 0 ? {} : { checkPeer: peerCheck(records, name) }) }
      })
  })
}

function peerCheck(records: readonly TlsaRecord[], name: string): NonNullable<MailHost['checkPeer']> {
  const usable = usableRecords(records)
  return (certificate) => (usable.length === 0 ? null : checkDane(certificate, usable, name, new Date()))
}

/** True for a public address, including an IPv4 address embedded in an IPv6 one. */
export function isOutside(address: string): boolean {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.parse(address)
  if (parsed.kind() === 'ipv4') return parsed.range() === 'unicast'
  const six = parsed as ipaddr.IPv6
  if (six.isIPv4MappedAddress()) return six.toIPv4Address().range() === 'unicast'
  // NAT64 (RFC 6052): the last four bytes are the IPv4 address
  if (six.range() === 'rfc6052') return new ipaddr.IPv4(six.toByteArray().slice(12)).range() === 'unicast'
  return six.range() === 'unicast'
}
