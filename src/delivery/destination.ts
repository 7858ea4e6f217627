/**
 * The destination: one name for all hosts of a receiving system. It is the configured group of the mail host, else that host's registrable
 * domain; if no host is known, the recipient's domain.
 */
import { getDomain } from 'tldts'
import { foldDomain, parseAddress } from '../bounce/index.js'
import { type DestinationGroup, groupOf } from '../throttle/index.js'
import { isWithin } from './own-hosts.js'

/** The input is a host name, not a URL. */
const AS_IT_IS = { extractHostname: false } as const

/** The destination that a mail host belongs to. */
export function destinationOfHost(host: string, groups: readonly DestinationGroup[]): string {
  return groupOf(host, groups) ?? getDomain(host, AS_IT_IS) ?? host
}

/** The host that a report names as remote MTA (`dns; mx1.mail.example.org`, `mx.example.org (192.0.2.1)`); null if it is one of ours. */
function remoteHost(remoteMta: string | undefined, ownHosts: readonly string[]): string | null {
  const name = /^\s*(?:(?:dns|smtp)\s*;)?\s*([^\s;()[\],]+)/i.exec(remoteMta ?? '')?.[1] ?? ''
  const host = foldDomain(name)
  return host === null || isWithin(host, ownHosts) ? null : host
}

/**
 * @param mailHost the host that mail for the recipient goes to, if it was looked up.
 * @param remoteMta the host that gave the reply, as a report names it.
 * @param ownHosts our own hosts; they are never the destination.
 */
export function deriveDestination(
  recipient: string,
  remoteMta: string | undefined,
  ownHosts: readonly string[],
  groups: readonly DestinationGroup[] = [],
  mailHost: string | null = null,
): string {
  const { domain } = parseAddress(recipient)
  if (mailHost !== null) return destinationOfHost(mailHost, groups)
  const host = remoteHost(remoteMta, ownHosts)
  const known = host === null ? null : (groupOf(host, groups) ?? getDomain(host, AS_IT_IS))
  return known ?? groupOf(domain, groups) ?? domain
}
