/** Matches our own hosts. */
import { BlockList, isIP } from 'node:net'

/**
 * True if `host` is one of `systems` (in lower case): host names, `*.example.com` for all below a domain, addresses, or networks such as
 * `10.0.0.0/8`.
 */
export function isWithin(host: string, systems: readonly string[]): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  const kind = isIP(name)
  return systems.some((system) => {
    if (system.startsWith('*.')) return kind === 0 && name.endsWith(system.slice(1))
    return name === system || (kind !== 0 && system.includes('/') && isInNetwork(name, kind, system))
  })
}

function isInNetwork(address: string, kind: number, network: string): boolean {
  const [base = '', prefix = ''] = network.split('/')
  const bits = Number(prefix)
  if (isIP(base) !== kind || !/^\d{1,3}$/.test(prefix) || bits > (kind === 4 ? 32 : 128)) return false
  const list = new BlockList()
  list.addSubnet(base, bits, kind === 4 ? 'ipv4' : 'ipv6')
  return list.check(address, kind === 4 ? 'ipv4' : 'ipv6')
}
