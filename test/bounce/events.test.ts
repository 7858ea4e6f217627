import { describe, expect, test } from 'vitest'
import { isUrgent, parseUrgentRules } from '../../src/bounce/index.js'

const message = (more: { sender?: string; recipient?: string; header?: Record<string, string[]> } = {}) => ({
  sender: more.sender ?? 'bounces@example.com',
  recipient: more.recipient ?? 'ann@example.org',
  headers: (name: string) => more.header?.[name] ?? [],
})
const urgent = (rules: string, more: Parameters<typeof message>[0]) => isUrgent(parseUrgentRules(rules), message(more))

describe('urgent rules', () => {
  test('a rule matches the whole sender or recipient in any case; a star matches any text', () => {
    expect(urgent('sender *@billing.example', { sender: 'Bounces@Billing.Example' })).toBe(true)
    expect(urgent('sender *@billing.example', { sender: 'bounces@billing.example.org' })).toBe(false)
    expect(urgent('sender *@billing.example', { recipient: 'ann@billing.example' })).toBe(false)
    expect(urgent('RECIPIENT vip-*@example.org', { recipient: 'vip-1@example.org' })).toBe(true)
    expect(urgent('recipient vip-*@example.org', { recipient: 'xvip-1@example.org' })).toBe(false)
    expect(urgent('recipient vip-*@example.org', { sender: 'vip-1@example.org' })).toBe(false)
  })

  test('a rule matches any value of a header field, trimmed; only the star is a wildcard', () => {
    const header = { 'x-priority': ['3', '  1 (high) '] }
    expect(urgent('header X-Priority: 1*', { header })).toBe(true)
    expect(urgent('header  X-Priority : 1 (high)', { header })).toBe(true)
    expect(urgent('header X-Priority: 1', { header })).toBe(false)
    expect(urgent('header X-Other: 1*', { header })).toBe(false)
    expect(urgent('header X-Priority: **', { header: { 'x-priority': ['a\nb'] } })).toBe(true)
    // dots and brackets match literally
    expect(urgent('sender a.b@example.com', { sender: 'axb@example.com' })).toBe(false)
    expect(urgent('header X-Priority: [123]', { header })).toBe(false)
  })

  test('one matching rule of several is enough; without rules nothing is urgent', () => {
    const rules = ' sender a@example.com ;; recipient b@example.org ; '
    expect(parseUrgentRules(rules)).toHaveLength(2)
    expect(urgent(rules, { recipient: 'b@example.org' })).toBe(true)
    expect(urgent(rules, { sender: 'a@example.com' })).toBe(true)
    expect(urgent(rules, {})).toBe(false)
    expect(parseUrgentRules('')).toEqual([])
  })

  test('an invalid rule is refused by name', () => {
    for (const wrong of ['x', 'sender', 'sender a b', 'header X-Priority', 'header X Y: 1', 'header X:', 'to a@example.com', 'xsender a@b'])
      expect(() => parseUrgentRules(`sender a@example.com; ${wrong}`), wrong).toThrow(`"${wrong}" is no rule; write header NAME: VALUE`)
    expect(() => parseUrgentRules('y'.repeat(200))).toThrow(`"${'y'.repeat(80)}" is no rule`)
  })
})
