import { expect, test } from 'vitest'
import { isWithin } from '../../src/delivery/index.js'

const SYSTEMS = ['mail.example.com', '*.out.example.com', '192.0.2.7', '10.0.0.0/8', '2001:db8::/32', '2001:db9::1']

test('own hosts are recognized by name, domain, address or network', () => {
  for (const host of ['mail.example.com', 'MAIL.example.com.', 'a.out.example.com', 'a.b.OUT.example.com', '192.0.2.7', '10.255.0.1'])
    expect(isWithin(host, SYSTEMS), host).toBe(true)
  for (const host of ['2001:db8::1', '2001:DB8:ffff::9', '2001:db9::1']) expect(isWithin(host, SYSTEMS), host).toBe(true)
})

test('other hosts are not recognized as ours', () => {
  for (const host of [
    'example.com',
    'xmail.example.com',
    'out.example.com',
    'aout.example.com',
    '192.0.2.8',
    '11.0.0.1',
    '10.0.0.1.example.org',
  ])
    expect(isWithin(host, SYSTEMS), host).toBe(false)
  for (const host of ['2001:dba::1', '2001:db9::2', '::ffff:10.0.0.1', '']) expect(isWithin(host, SYSTEMS), host).toBe(false)
  expect(isWithin('10.0.0.1', [])).toBe(false)
})

test('an invalid network matches no address', () => {
  for (const wrong of ['10.0.0.0/33', '10.0.0.0/x', '10.0.0.0/', '10.0.0.0/-1', 'ten/8', '::/8', '*.0.0.1'])
    expect(isWithin('10.0.0.1', [wrong]), wrong).toBe(false)
  expect(isWithin('2001:db8::1', ['2001:db8::/129'])).toBe(false)
  // the shortest and the longest prefix
  expect(isWithin('10.0.0.1', ['0.0.0.0/0'])).toBe(true)
  expect(isWithin('10.0.0.1', ['10.0.0.1/32'])).toBe(true)
  expect(isWithin('2001:db8::1', ['2001:db8::1/128'])).toBe(true)
})
