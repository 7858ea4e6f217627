/** Matches configured groups of mail hosts that form one destination. For hosts in no group: delivery/destination.ts. */

/** A group: the destination's name, and host names or patterns such as `*.example.com`, in lower case. */
export interface DestinationGroup {
  readonly name: string
  readonly hosts: readonly string[]
}

/** The group that a host belongs to; null if it is in none. `*.example.com` also matches example.com itself. */
export function groupOf(host: string, groups: readonly DestinationGroup[]): string | null {
  const name = host.toLowerCase().replace(/\.$/, '')
  const holds = (pattern: string) =>
    pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) || name === pattern.slice(2) : name === pattern
  return groups.find(({ hosts }) => hosts.some(holds))?.name ?? null
}
