/** The receiving system: the registrable domain of the remote MTA where it is known, else the recipient's domain. */
import { getDomain } from 'tldts'
import { foldDomain, parseAddress } from '../bounce/index.js'
import { isWithin } from '../smtp/index.js'

/**
 * @param remoteMta the host that gave the reply, as a notification names it (`dns; mx1.mail.example.org`, `mx.example.org (192.0.2.1)`).
 * @param ownSystems hosts that are ours; they blame nobody.
 */
export function deriveDestination(recipient: string, remoteMta: string | undefined, ownSystems: readonly string[]): string {
  const name = /^\s*(?:(?:dns|smtp)\s*;)?\s*([^\s;()[\],]+)/i.exec(remoteMta ?? '')?.[1] ?? ''
  const host = foldDomain(name)
  if (host !== null && !isWithin(host, ownSystems)) {
    const domain = getDomain(host)
    if (domain !== null) return domain
  }
  return parseAddress(recipient).domain
}
