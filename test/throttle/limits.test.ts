import { describe, expect, test } from 'vitest'
import { formatRate, groupOf, limitsOf, parseDestinationGroups, parseLimits, parseRate } from '../../src/throttle/index.js'

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

describe('LIMITS', () => {
  test('LIMITS overrides named settings of single destinations only', () => {
    const limits = parseLimits('Example.org: rate 2/s, connections 2; google: lowest rate 30/min, messages per connection 50')
    expect(limitsOf(GENERAL, limits.get('example.org'))).toEqual({ ...GENERAL, maxMessageRate: 2, connections: 2 })
    expect(limitsOf(GENERAL, limits.get('google'))).toEqual({ ...GENERAL, minMessageRate: 0.5, maxDeliveriesPerConnection: 50 })
    expect(limitsOf(GENERAL, limits.get('other'))).toEqual(GENERAL)
  })

  test('a maximum rate below the minimum lowers the minimum too', () => {
    expect(limitsOf(GENERAL, { maxMessageRate: 0.1 })).toMatchObject({ minMessageRate: 0.1, maxMessageRate: 0.1 })
    expect(limitsOf(GENERAL, { maxMessageRate: 0.1, connections: 1 })).toMatchObject({
      minMessageRate: 0.1,
      maxMessageRate: 0.1,
      connections: 1,
    })
  })

  test('what is wrong is named', () => {
    expect(() => parseLimits('example.org rate 2/s')).toThrow(/"example.org rate 2\/s" is not a limit/)
    expect(() => parseLimits('example.org: speed 2/s')).toThrow(/"speed 2\/s" \(of example.org\) is none of: rate N/)
    expect(() => parseLimits('example.org: rate fast')).toThrow(/"rate fast" \(of example.org\)/)
    expect(() => parseLimits('example.org: connections 0')).toThrow(/whole number from 1/)
    expect(() => parseLimits('a: rate 1/s; a: rate 2/s')).toThrow(/stands there twice/)
  })
})

describe('DESTINATIONS', () => {
  const groups = parseDestinationGroups('google=*.google.com,*.googlemail.com; Microsoft = *.outlook.com, mx.example')

  test('hosts of a group share one limiter, whatever their domain', () => {
    expect(groupOf('aspmx.l.google.com', groups)).toBe('google')
    expect(groupOf('gmr-smtp-in.l.googlemail.com.', groups)).toBe('google')
    expect(groupOf('google.com', groups)).toBe('google')
    expect(groupOf('example-org.mail.protection.OUTLOOK.com', groups)).toBe('microsoft')
    expect(groupOf('mx.example', groups)).toBe('microsoft')
    expect(groupOf('notgoogle.com', groups)).toBeNull()
    expect(groupOf('mx2.example', groups)).toBeNull()
  })

  test('what is wrong is named', () => {
    for (const wrong of ['google', 'google=', '=*.google.com', 'google=*.google.com=x', 'go ogle=a.example', 'g=*', 'g=a..,@'])
      expect(() => parseDestinationGroups(wrong), wrong).toThrow(/is not a group of mail hosts/)
    expect(() => parseDestinationGroups('a=b.example; a=c.example')).toThrow(/twice/)
  })
})
