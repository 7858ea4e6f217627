import { describe, expect, test } from 'vitest'
import { isUrgent, urgentRule } from '../../src/bounce/index.js'

const message = (more: { sender?: string; recipient?: string; header?: Record<string, string[]> } = {}) => ({
  sender: more.sender ?? 'bounces@example.com',
  recipient: more.recipient ?? 'ann@example.org',
  headers: (name: string) => more.header?.[name] ?? [],
})
const urgent = (rule: Parameters<typeof urgentRule>, more: Parameters<typeof message>[0]) => isUrgent([urgentRule(...rule)], message(more))

describe('urgent rules', () => {
  test('a rule matches the whole sender or recipient in any case; a star matches any text', () => {
    expect(urgent(['sender', '*@billing.example'], { sender: 'Bounces@Billing.Example' })).toBe(true)
    expect(urgent(['sender', '*@billing.example'], { sender: 'bounces@billing.example.org' })).toBe(false)
    expect(urgent(['sender', '*@billing.example'], { recipient: 'ann@billing.example' })).toBe(false)
    expect(urgent(['recipient', 'vip-*@example.org'], { recipient: 'vip-1@example.org' })).toBe(true)
    expect(urgent(['recipient', 'vip-*@example.org'], { recipient: 'xvip-1@example.org' })).toBe(false)
    expect(urgent(['recipient', 'vip-*@example.org'], { sender: 'vip-1@example.org' })).toBe(false)
  })

  test('a rule matches any value of a header field, trimmed; only the star is a wildcard', () => {
    const header = { 'x-priority': ['3', '  1 (high) '] }
    expect(urgent(['header', '1*', 'X-Priority'], { header })).toBe(true)
    expect(urgent(['header', '1 (high)', 'X-Priority'], { header })).toBe(true)
    expect(urgent(['header', '1', 'X-Priority'], { header })).toBe(false)
    expect(urgent(['header', '1*', 'X-Other'], { header })).toBe(false)
    expect(urgent(['header', '**', 'X-Priority'], { header: { 'x-priority': ['a\nb'] } })).toBe(true)
    // dots and brackets match literally
    expect(urgent(['sender', 'a.b@example.com'], { sender: 'axb@example.com' })).toBe(false)
    expect(urgent(['header', '[123]', 'X-Priority'], { header })).toBe(false)
  })

  test('one matching rule of several is enough; without rules nothing is urgent', () => {
    const rules = [urgentRule('sender', 'a@example.com'), urgentRule('recipient', 'b@example.org')]
    expect(isUrgent(rules, message({ recipient: 'b@example.org' }))).toBe(true)
    expect(isUrgent(rules, message({ sender: 'a@example.com' }))).toBe(true)
    expect(isUrgent(rules, message())).toBe(false)
    expect(isUrgent([], message())).toBe(false)
  })
})
