/** The return path: keys, the MX of its domain, and SPF. */
import { networkInterfaces } from 'node:os'
import type { Settings } from '../config/index.js'
import { resolverOf } from '../delivery/mx.js'
import { isWithin } from '../delivery/own-hosts.js'
import { describe } from '../temporal/activity-errors.js'
import { type Finding, failure, ok, warning } from './finding.js'

const CHECK = 'return path'

/** @param senderDomain what `{domain}` in returnPath.address stands for; null if unknown. */
export async function checkReturnPath(settings: Settings, senderDomain: string | null): Promise<Finding[]> {
  const { returnPaths, direct, ownHosts } = settings
  if (returnPaths === null)
    return [
      failure(CHECK, 'returnPath.keys is not set: no bounce can be authenticated', 'set it for all processes: openssl rand -base64 32'),
    ]
  const found = [
    ok(
      CHECK,
      `${returnPaths.template}, signed with ${returnPaths.keys.length === 1 ? 'one key' : `the first of ${returnPaths.keys.length} keys`}, valid for ${returnPaths.validDays} d`,
    ),
  ]
  const template = returnPaths.template.slice(returnPaths.template.lastIndexOf('@') + 1)
  if (template.includes('{domain}') && senderDomain === null)
    return [
      ...found,
      warning(CHECK, "its domain is the sender's, which is not known here: MX and SPF were not checked", 'give --domain example.com'),
    ]
  const domain = template.replaceAll('{domain}', senderDomain ?? '')
  const resolve = resolverOf(direct?.dnsServers ?? [])
  return [...found, await checkMx(domain, resolve, ownHosts), await checkSpf(domain, resolve)]
}

type Resolve = ReturnType<typeof resolverOf>

async function checkMx(domain: string, resolve: Resolve, ownHosts: readonly string[]): Promise<Finding> {
  let hosts: readonly { readonly exchange: string }[]
  try {
    hosts = (await resolve(domain, 'MX')) as { exchange: string }[]
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTFOUND' && code !== 'ENODATA')
      return warning(CHECK, `the MX of ${domain} cannot be looked up: ${describe(error)}`, 'check the resolver, or direct.dnsServers')
    const addresses = await Promise.all(['A', 'AAAA'].map((type) => resolve(domain, type).catch(() => [])))
    if (addresses.flat().length > 0)
      return warning(CHECK, `${domain} has no MX record; mail goes to its address (RFC 5321 5.1)`, 'publish an MX')
    return failure(
      CHECK,
      `${domain} has neither an MX nor an address record: bounces cannot come back`,
      `point the MX of ${domain} at the mail server that hands bounces to the intake`,
    )
  }
  const names = hosts.map(({ exchange }) => exchange.toLowerCase())
  const own = [...ownHosts, ...Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address))]
  for (const name of names) {
    const addresses = (await Promise.all(['A', 'AAAA'].map((type) => resolve(name, type).catch(() => [])))).flat() as string[]
    if ([name, ...addresses].some((host) => isWithin(host, own))) return ok(CHECK, `the MX of ${domain} is ours (${name})`)
  }
  return warning(
    CHECK,
    `the MX of ${domain} (${names.join(', ')}) is none of our hosts as far as this machine knows`,
    'name it in ownHosts if it is ours; else bounces go elsewhere',
  )
}

async function checkSpf(domain: string, resolve: Resolve): Promise<Finding> {
  const texts = ((await resolve(domain, 'TXT').catch(() => [])) as string[][]).map((parts) => parts.join(''))
  const records = texts.filter((text) => /^v=spf1(?: |$)/i.test(text))
  if (records.length === 1) return ok(CHECK, `${domain} has an SPF record: ${records[0]?.slice(0, 200)}`)
  if (records.length > 1)
    return failure(CHECK, `${domain} has ${records.length} SPF records, which receivers treat as an error (RFC 7208 4.5)`, 'leave one')
  return warning(
    CHECK,
    `${domain} has no SPF record`,
    `publish one that permits the hosts that send with it, such as "v=spf1 ip4:192.0.2.10 ~all"`,
  )
}
