/** The receiving system: the registrable domain of the remote MTA where it is known, else the recipient's domain. */
import { getDomain } from 'tldts'
import { foldDomain, parseAddress } from '../bounce/index.js'

/** True where `host` is one of `systems`: host names, or `*.example.com` for all below a domain. */
export function isOneOf(host: string, systems: readonly string[]): boolean {
  return systems.some((system) => (system.startsWith('*.') ? host.endsWith(system.slice(1)) : host === system))
}

/**
 * @param remoteMta the host that gave the reply, as a notification names it (`dns; mx1.mail.example.org`, `mx.example.org (192.0.2.1)`).
 * @param ownSystems hosts that are ours; they blame nobody.
 */
export function deriveDestination(recipient: string, remoteMta: string | undefined, ownSystems: readonly string[]): string {
  const name = /^\s*(?:(?:dns|smtp)\s*;)?\s*([^\s;()[\],]+)/i.exec(remoteMta ?? '')?.[1] ?? ''
  const host = foldDomain(name)
  if (host !== null && !isOneOf(host, ownSystems)) {
    const domain = getDomain(host)
    if (domain !== null) return domain
  }
  return parseAddress(recipient).domain
}
