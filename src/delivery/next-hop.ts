/** The next hop to a destination: a mail host of the destination itself, or a relay. */
import { isIP } from 'node:net'
import type { DetailedPeerCertificate } from 'node:tls'

/**
 * How TLS is used: `verify`: required and verified; `dane`: the same, the certificate checked by `checkPeer`; `opportunistic`: if offered,
 * unverified; `off`; `implicit`: from the first byte, verified.
 */
export type TlsMode = 'verify' | 'dane' | 'opportunistic' | 'off' | 'implicit'

/** The server that a message is sent to, and whose replies it returns. */
export interface NextHop {
  /**
   * `system`: replies come from the destination. `relay`: they come from the relay, and are no evidence about the destination.
   * `transparent`: a relay that passes on the destination's replies from MAIL on; earlier replies are its own.
   */
  readonly kind: 'system' | 'relay' | 'transparent'
  readonly host: string
  readonly port: number
  readonly tls: TlsMode
  readonly credentials?: { readonly user: string; readonly pass: string }
  /** A private CA's certificates, PEM. */
  readonly ca?: string
  /** The host's name if `host` is an address: for verifying its certificate, and for display. */
  readonly servername?: string
  /** Our own address to connect from. */
  readonly localAddress?: string
  /** With `dane`: why the certificate fails verification, or null. */
  readonly checkPeer?: (certificate: DetailedPeerCertificate) => string | null
}

/** `host`, or `host:port` if the port is not 25, for display. */
export function nameOf(path: Pick<NextHop, 'host' | 'port' | 'servername'>): string {
  const host = path.servername ?? (isIP(path.host) === 6 ? `[${path.host}]` : path.host)
  return path.port === 25 ? host : `${host}:${path.port}`
}

/** A static route: its destinations (`*` for all), and the host that accepts their mail. */
export interface StaticRoute {
  readonly destination: string
  readonly host: string
  readonly port: number
}

/** The static routes, and the relay for everything else. */
export interface NextHops {
  readonly routes: readonly StaticRoute[]
  readonly relay: NextHop | null
}

/** The next hop for a destination: its route, else the route `*`, else the relay; null if there is none. */
export function nextHopFor(destination: string, { routes, relay }: NextHops): NextHop | null {
  const route = routes.find((r) => r.destination === destination) ?? routes.find((r) => r.destination === '*')
  if (route !== undefined) return { kind: 'system', host: route.host, port: route.port, tls: 'opportunistic' }
  return relay
}
