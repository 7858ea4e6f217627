/**
 * One attempt: to the relay or a static route's host; or directly, to the mail hosts of the recipient's domain. The next host is tried if
 * there was no connection or a refusal up to MAIL, never from RCPT on (RFC 5321 section 5.1).
 */
import type { Stage } from '../../bounce/index.js'
import { isAllowed, type StsPolicy } from '../mta-sts.js'
import type { MailHost } from '../mx.js'
import type { NextHop } from '../next-hop.js'
import type { SmtpSession } from './client.js'
import { converse, type SmtpExchange, type Transaction } from './transaction.js'
import type { TransactionResult } from './transaction-result.js'

/** How hosts are contacted directly. */
export interface DirectOptions {
  readonly port: number
  /** Our own addresses to connect from: at most one of each family. */
  readonly bindAddresses: readonly string[]
}

/** The next hop for one address of a mail host. */
export function nextHopTo(host: MailHost, policy: StsPolicy | null, { port, bindAddresses }: DirectOptions): NextHop {
  const localAddress = bindAddresses.find((address) => address.includes(':') === host.address.includes(':'))
  const tls = policy?.mode === 'enforce' ? 'verify' : host.checkPeer === undefined ? 'opportunistic' : 'dane'
  return {
    kind: 'system',
    host: host.address,
    port,
    tls,
    ...(host.name === host.address ? {} : { servername: host.name }),
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(host.checkPeer === undefined ? {} : { checkPeer: host.checkPeer }),
  }
}

/** The hosts that may be contacted; if a policy is enforced, those that it names (RFC 8461 section 5). */
export function allowedHosts(hosts: readonly MailHost[], policy: StsPolicy | null): readonly MailHost[] {
  return policy?.mode === 'enforce' ? hosts.filter(({ name }) => isAllowed(name, policy)) : hosts
}

/** Most addresses that one attempt tries (Postfix: smtp_mx_address_limit). */
const MOST_HOSTS = 5

/**
 * The hosts that one attempt tries: at most MOST_HOSTS. If bind addresses are set, only hosts of their address families (mail must not
 * leave from any other address).
 */
export function reachableHosts(hosts: readonly MailHost[], bindAddresses: readonly string[]): readonly MailHost[] {
  const isReachable = ({ address }: MailHost) => bindAddresses.some((ours) => ours.includes(':') === address.includes(':'))
  return (bindAddresses.length === 0 ? hosts : hosts.filter(isReachable)).slice(0, MOST_HOSTS)
}

/**
 * Tries the next hops in order. Never rejects: every failure is a TransactionResult; of several, the most informative one is returned.
 * @param mayGoOn called before another host is contacted: whether our lease is still valid.
 */
export async function deliver(
  paths: readonly NextHop[],
  transaction: Omit<Transaction, 'path'>,
  open: { readonly path: NextHop; readonly session: SmtpSession } | null = null,
  mayGoOn: () => Promise<boolean> = async () => true,
): Promise<SmtpExchange & { readonly path: NextHop }> {
  const order = open === null ? paths : [open.path, ...paths.filter((path) => path !== open.path)]
  let best: (SmtpExchange & { readonly path: NextHop }) | null = null
  for (const path of order) {
    const met = { ...(await converse({ ...transaction, path }, path === open?.path ? open.session : null)), path }
    const { result, session } = met
    if (met.stale || !asksForNext(result)) return met
    await session?.end()
    if (best === null || weight(result) > weight(best.result)) best = { ...met, session: null }
    if (!(await mayGoOn())) break
  }
  return best as SmtpExchange & { readonly path: NextHop }
}

const BEFORE_THE_RECIPIENT: readonly Stage[] = ['connect', 'banner', 'EHLO', 'STARTTLS', 'MAIL']

/** True if the next host may accept what this one did not. */
export function asksForNext(result: TransactionResult): boolean {
  if (result.kind === 'lost') return BEFORE_THE_RECIPIENT.includes(result.at)
  if (result.kind !== 'reply')
    return result.kind === 'refused' || result.kind === 'unreachable' || result.kind === 'policy' || result.kind === 'local'
  if (result.reply.code < 500) return result.reply.code >= 400 && BEFORE_THE_RECIPIENT.includes(result.at)
  // "no mail service here" is about the host, not the domain (RFC 7504)
  return result.at === 'banner' || result.at === 'EHLO'
}

/** Ranks failures: the most informative about the destination first, and permanent replies below temporary ones. */
function weight(result: TransactionResult): number {
  if (result.kind === 'reply') return result.reply.code < 500 ? 6 : 2
  // that a family is missing here is the reason only if every host is of that family
  if (result.kind === 'local') return result.noRoute ? 0.5 : 1
  return { lost: 5, refused: 4, policy: 3, unreachable: 2.5 }[result.kind as string] ?? 0
}
