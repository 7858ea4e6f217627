import { describe, expect, test } from 'vitest'
import { formatRate, groupOf, limitsOf, parseRate } from '../../src/throttle/index.js'

const GENERAL = { minMessageRate: 1, maxMessageRate: 20, connections: 5, maxDeliveriesPerConnection: 20 }

test('a rate is parsed from human notation', () => {
  expect(parseRate('2/s')).toBe(2)
  expect(parseRate(' 30 / min ')).toBe(0.5)
  expect(parseRate('90/h')).toBe(0.025)
  for (const wrong of ['', '2', '2/d', '0/s', '-1/s', '1e9/s', '20000/s', 'fast'])
    expect(() => parseRate(wrong), wrong).toThrow(/is not a rate/)
})

test('a rate is formatted in the same notation', () => {
  expect([2, 0.5, 0.025, 1 / 60, 1.57171].map(formatRate)).toEqual(['2/s', '30/min', '90/h', '1/min', '1.6/s'])
})

describe('limits of a destination', () => {
  test('they override the general ones one by one', () => {
    expect(limitsOf(GENERAL, { maxMessageRate: 2, connections: 2 })).toEqual({ ...GENERAL, maxMessageRate: 2, connections: 2 })
    expect(limitsOf(GENERAL, undefined, { minMessageRate: 0.5 })).toEqual({ ...GENERAL, minMessageRate: 0.5 })
    expect(limitsOf(GENERAL, undefined)).toEqual(GENERAL)
  })

  test('a maximum rate below the minimum lowers the minimum too', () => {
    expect(limitsOf(GENERAL, { maxMessageRate: 0.1 })).toMatchObject({ minMessageRate: 0.1, maxMessageRate: 0.1 })
    expect(limitsOf(GENERAL, { maxMessageRate: 0.1, connections: 1 })).toMatchObject({
      minMessageRate: 0.1,
      maxMessageRate: 0.1,
      connections: 1,
    })
  })
})

describe('groups of mail hosts', () => {
  const groups = [
    { name: 'google', hosts: ['*.google.com', '*.googlemail.com'] },
    { name: 'microsoft', hosts: ['*.outlook.com', 'mx.example'] },
  ]

  test('hosts of a group share one limiter, whatever their domain', () => {
    expect(groupOf('aspmx.l.google.com', groups)).toBe('google')
    expect(groupOf('gmr-smtp-in.l.googlemail.com.', groups)).toBe('google')
    expect(groupOf('google.com', groups)).toBe('google')
    expect(groupOf('example-org.mail.protection.OUTLOOK.com', groups)).toBe('microsoft')
    expect(groupOf('mx.example', groups)).toBe('microsoft')
    expect(groupOf('notgoogle.com', groups)).toBeNull()
    expect(groupOf('mx2.example', groups)).toBeNull()
  })
})
