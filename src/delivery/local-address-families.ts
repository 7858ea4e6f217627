/** Which address families this machine can connect from. */
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

export const familyOf = (address: string): 'IPv4' | 'IPv6' => (isIPv6(address) ? 'IPv6' : 'IPv4')

/** True unless the host is an IPv6 address, and this machine has none but loopback and link-local ones. */
export function hasFamilyOf(host: string, interfaces = networkInterfaces()): boolean {
  if (!isIPv6(host) || host === '::1') return true
  const addresses = Object.values(interfaces).flatMap((list) => list ?? [])
  return addresses.some(({ family, internal, address }) => family === 'IPv6' && !internal && !/^fe80:/i.test(address))
}
