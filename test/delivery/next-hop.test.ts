import { expect, test } from 'vitest'
import { type NextHop, nameOf, nextHopFor, parseRoutes } from '../../src/delivery/index.js'

const relay: NextHop = { kind: 'relay', host: 'relay.example.com', port: 587, tls: 'verify' }

test('routes are parsed; an invalid one is named', () => {
  expect(parseRoutes('example.org=127.0.0.1:2526, *=mx.example.net, v6.example=[::1]:26')).toEqual([
    { destination: 'example.org', host: '127.0.0.1', port: 2526 },
    { destination: '*', host: 'mx.example.net', port: 25 },
    { destination: 'v6.example', host: '::1', port: 26 },
  ])
  expect(parseRoutes('')).toEqual([])
  for (const text of ['example.org', 'a=b:0', 'a=b:70000', '=b', 'a=', 'a=b c', 'a=::1'])
    expect(() => parseRoutes(text), text).toThrow(`"${text}"`)
})

test('a destination uses its route, else *, else the relay', () => {
  const routes = parseRoutes('example.org=10.0.0.1')
  expect(nextHopFor('example.org', { routes, relay })).toMatchObject({ kind: 'system', host: '10.0.0.1', port: 25 })
  expect(nextHopFor('example.net', { routes, relay })).toBe(relay)
  expect(nextHopFor('example.net', { routes, relay: null })).toBeNull()
  expect(nextHopFor('example.net', { routes: parseRoutes('*=10.0.0.2, example.org=10.0.0.1'), relay })).toMatchObject({ host: '10.0.0.2' })
})

test('a host’s name omits port 25 and brackets IPv6', () => {
  expect(nameOf({ host: 'mx.example.org', port: 25 })).toBe('mx.example.org')
  expect(nameOf({ host: '::1', port: 2525 })).toBe('[::1]:2525')
})
