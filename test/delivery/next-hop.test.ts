import { expect, test } from 'vitest'
import { type NextHop, nameOf, nextHopFor } from '../../src/delivery/index.js'
import { staticRoutes } from '../support/config.js'

const relay: NextHop = { kind: 'relay', host: 'relay.example.com', port: 587, tls: 'verify' }

test('a destination uses its route, else *, else the relay', () => {
  const routes = staticRoutes('example.org=10.0.0.1')
  expect(nextHopFor('example.org', { routes, relay })).toMatchObject({ kind: 'system', host: '10.0.0.1', port: 25 })
  expect(nextHopFor('example.net', { routes, relay })).toBe(relay)
  expect(nextHopFor('example.net', { routes, relay: null })).toBeNull()
  expect(nextHopFor('example.net', { routes: staticRoutes('*=10.0.0.2, example.org=10.0.0.1'), relay })).toMatchObject({ host: '10.0.0.2' })
})

test('a host’s name omits port 25 and brackets IPv6', () => {
  expect(nameOf({ host: 'mx.example.org', port: 25 })).toBe('mx.example.org')
  expect(nameOf({ host: '::1', port: 2525 })).toBe('[::1]:2525')
})
