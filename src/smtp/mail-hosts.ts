/**
 * The hosts that take a domain's mail (RFC 5321 section 5.1): by MX, in the order of preference, equal ones by chance; without MX the domain
 * itself. mx-connect looks up; what its errors mean is said here: the receiving system's answer, or our own trouble.
 */
import { Resolver } from 'node:dns'
import { isIP } from 'node:net'
import type { DetailedPeerCertificate } from 'node:tls'
import mxConnect from 'mx-connect'

/** One address of one host. */
export interface MailHost {
  /** The host's name, or its address where it has none. */
  readonly name: string
  readonly address: string
  /** With TLSA records (DANE, RFC 7672): what is wrong with a certificate, or null. */
  readonly checkPeer?: (certificate: DetailedPeerCertificate) => string | null
}

export type MailHosts =
  | { readonly kind: 'hosts'; readonly hosts: readonly MailHost[] }
  /** The domain says that it takes no mail (RFC 7505). */
  | { readonly kind: 'null mx'; readonly text: string }
  /** There is no such domain, or nothing in it that could take mail. */
  | { readonly kind: 'no domain'; readonly text: string }
  /** It has MX records, and none of their hosts can be met. */
  | { readonly kind: 'unroutable'; readonly text: string }
  /** Name servers failed: the domain's, or the way to them. */
  | { readonly kind: 'unresolved'; readonly text: string }
  /** Our own resolver does not answer. */
  | { readonly kind: 'local'; readonly text: string }

export interface MailHostOptions {
  /** Name servers (`127.0.0.1:53`); the system's where empty. */
  readonly dnsServers: readonly string[]
  readonly port: number
  /** Hosts with loopback and private addresses are met too. */
  readonly mayBeLocal: boolean
  readonly dane: boolean
}

/** A resolver of node's dns, callbacks; told which servers to ask. */
export type Resolve = (name: string, type: string) => Promise<unknown>

const DNS_TIMEOUT_MS = 10_000
const DNS_TRIES = 2
/** Addresses that one attempt walks (Postfix: smtp_mx_address_limit). */
export const MOST_HOSTS = 5
const RESOLVER_SILENT = new Set(['ETIMEOUT', 'ECONNREFUSED', 'ECANCELLED', 'EDESTRUCTION', 'ENOMEM', 'EOF', 'EFILE'])
const NOTHING_THERE = new Set(['ENOTFOUND', 'ENODATA'])

export function resolverOf(dnsServers: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES })
  if (dnsServers.length > 0) resolver.setServers(dnsServers)
  return (name, type) =>
    new Promise((resolve, reject) => resolver.resolve(name, type, (error, records) => (error ? reject(error) : resolve(records))))
}

/** Looks the hosts up; never rejects. `resolve` is asked for MX, A, AAAA and TLSA. */
export async function mailHosts(domain: string, options: MailHostOptions, resolve: Resolve): Promise<MailHosts> {
  const asked = { nullMx: false, mx: false }
  const lookUp = async (name: string, type: string) => {
    const records = await resolve(name, type)
    if (type === 'MX') {
      const list = records as { exchange: string; priority: number }[]
      asked.mx = list.length > 0
      asked.nullMx = list.length > 0 && list.every(({ exchange }) => exchange === '' || exchange === '.')
    }
    return records
  }
  const found = new Promise<readonly mxConnect.MxHost[]>((done, fail) => {
    mxConnect({
      target: domain,
      port: options.port,
      dnsOptions: {
        blockLocalAddresses: !options.mayBeLocal,
        resolve: (name, type, callback) => {
          const [kind, tell] = typeof type === 'string' ? [type, callback] : ['A', type]
          lookUp(name, kind).then(
            (records) => tell?.(null, records as never),
            (error: NodeJS.ErrnoException) => tell?.(error),
          )
        },
      },
      dane: { enabled: options.dane, resolveTlsa: async (name) => (await resolve(name, 'TLSA')) as mxConnect.TlsaRecord[] },
      // it is asked for the hosts alone: who is met, and in which dialogue the next one's turn comes, is decided by delivery.ts
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
    const hosts = inOrder(await found, options.dane)
    return hosts.length > 0
      ? { kind: 'hosts', hosts: hosts.slice(0, MOST_HOSTS) }
      : { kind: 'unresolved', text: `the TLSA records of ${domain}'s mail hosts could not be looked up` }
  } catch (error) {
    return failure(domain, error as NodeJS.ErrnoException, asked)
  }
}

function failure(domain: string, error: NodeJS.ErrnoException, asked: { readonly nullMx: boolean; readonly mx: boolean }): MailHosts {
  if (asked.nullMx) return { kind: 'null mx', text: `556 5.1.10 ${domain} takes no mail (null MX, RFC 7505)` }
  const code = error.code ?? ''
  const text = error.message.replace(/\s+/g, ' ').slice(0, 300)
  if (RESOLVER_SILENT.has(code))
    return { kind: 'local', text: `the mail hosts of ${domain} could not be looked up: no name server of ours answers (${code})` }
  if (NOTHING_THERE.has(code) && !asked.mx)
    return { kind: 'no domain', text: `there is no mail host for ${domain}: no MX, and no address (${code})` }
  if (NOTHING_THERE.has(code) || code === 'InvalidIpAddress' || code === '')
    return { kind: 'unroutable', text: `none of the mail hosts of ${domain} has an address that can be met: ${text}` }
  return { kind: 'unresolved', text: `the mail hosts of ${domain} could not be looked up: name servers failed (${code})` }
}

/** Each host's addresses one after another, IPv6 and IPv4 taking turns in being first. */
function inOrder(mx: readonly mxConnect.MxHost[], dane: boolean): MailHost[] {
  const byChance = mx.map((host) => ({ host, chance: Math.random() }))
  byChance.sort((a, b) => a.host.priority - b.host.priority || a.chance - b.chance)
  return byChance.flatMap(({ host, chance }) => {
    // a host whose TLSA records could not be looked up may not be met (RFC 7672 2.1.2)
    if (dane && host.daneLookupFailed) return []
    const [first, second] = chance < 0.5 ? [host.A, host.AAAA] : [host.AAAA, host.A]
    const records = host.tlsaRecords ?? []
    return [...first, ...second].map((address) => ({
      name: host.exchange === '' || isIP(host.exchange) ? address : host.exchange.toLowerCase().replace(/\.$/, ''),
      address,
      ...(records.length === 0 ? {} : { checkPeer: (certificate: DetailedPeerCertificate) => checkByTlsa(certificate, records) }),
    }))
  })
}

function checkByTlsa(certificate: DetailedPeerCertificate, records: readonly mxConnect.TlsaRecord[]): string | null {
  const chain: DetailedPeerCertificate[] = []
  for (let next = certificate; next?.raw !== undefined && !chain.includes(next); next = next.issuerCertificate) chain.push(next)
  const { valid, error } = mxConnect.dane.verifyCertAgainstTlsa(certificate, records, chain)
  return valid ? null : `its certificate is none of those that its TLSA records name (${error})`
}
