/** Hosts that are ours. */

/** True where `host` is one of `systems` (in lower case): host names, `*.example.com` for all below a domain, or addresses. */
export function isWithin(host: string, systems: readonly string[]): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  return systems.some((system) => (system.startsWith('*.') ? name.endsWith(system.slice(1)) : name === system))
}
