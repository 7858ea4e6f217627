/** Which address families this machine can connect from. */
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

/**
 * True if the host is an IPv6 address, and this machine is on an IPv4 network alone. With no address at all its network is down, which says
 * nothing of families.
 */
export function lacksFamilyOf(host: string, interfaces = networkInterfaces()): boolean {
  if (!isIPv6(host) || host === '::1') return false
  const addresses = Object.values(interfaces).flatMap((list) => (list ?? []).filter(({ internal }) => !internal))
  const has6 = addresses.some(({ family, address }) => family === 'IPv6' && !/^fe80:/i.test(address))
  return !has6 && addresses.some(({ family }) => family === 'IPv4')
}
