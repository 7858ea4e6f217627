/** Parses and matches configured groups of mail hosts that form one destination. For hosts in no group: delivery/destination.ts. */

/** A group: the destination's name, and host names or patterns such as `*.example.com`, in lower case. */
export interface DestinationGroup {
  readonly name: string
  readonly hosts: readonly string[]
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/
const HOST = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]{0,252})$/

/**
 * Reads `google=*.google.com,*.googlemail.com; microsoft=*.outlook.com`.
 * @throws Error naming the entry that is wrong.
 */
export function parseDestinationGroups(text: string): DestinationGroup[] {
  const groups = text
    .split(';')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [name = '', list = '', more] = entry.split('=').map((part) => part.trim())
      const hosts = list.split(/[\s,]+/).filter((host) => host !== '')
      const wrong = hosts.find((host) => !HOST.test(host))
      if (!NAME.test(name) || hosts.length === 0 || more !== undefined || wrong !== undefined)
        throw new Error(
          `"${entry}"${wrong === undefined ? '' : ` ("${wrong}")`} is not a group of mail hosts such as google=*.google.com,*.googlemail.com; groups are separated by semicolons`,
        )
      return { name, hosts }
    })
  const twice = groups.find(({ name }, i) => groups.findIndex((other) => other.name === name) !== i)
  if (twice !== undefined) throw new Error(`the group ${twice.name} stands there twice`)
  return groups
}

/** The group that a host belongs to; null if it is in none. `*.example.com` also matches example.com itself. */
export function groupOf(host: string, groups: readonly DestinationGroup[]): string | null {
  const name = host.toLowerCase().replace(/\.$/, '')
  const holds = (pattern: string) =>
    pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) || name === pattern.slice(2) : name === pattern
  return groups.find(({ hosts }) => hosts.some(holds))?.name ?? null
}
