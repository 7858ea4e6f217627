/** Tables of the configuration in a short notation, as YAML for the environment. */
import type { StaticRoute } from '../../src/delivery/next-hop.js'

/** `example.org=127.0.0.1:2526, *=mx.example.net`; the port is 25 without one. */
export const staticRoutes = (text: string): StaticRoute[] =>
  text
    .split(',')
    .filter((entry) => entry.trim() !== '')
    .map((entry) => {
      const [destination, address] = entry.trim().split('=') as [string, string]
      const [host, port = '25'] = address.split(':') as [string, string?]
      return { destination, host, port: Number(port) }
    })

export const yamlRoutes = (text: string): string => JSON.stringify(staticRoutes(text))

/** `k1:KEY, k2:KEY`; empty if there is none. */
export const yamlKeys = (text: string | undefined): string =>
  text === undefined || text === ''
    ? ''
    : JSON.stringify(
        text.split(',').map((key) => {
          const [id, ...rest] = key.trim().split(':')
          return { id, key: rest.join(':') }
        }),
      )
