/** Untrusted text stays text wherever it is written: SMTP commands, headers, Markdown, HTML, CSV, labels, terminals. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkBouncedMessage } from '../../src/bounce/index.js'
import { printable } from '../../src/cli/output.js'
import { canonicalMessage, DEFAULT_TIMEOUTS, transact } from '../../src/delivery/index.js'
import { withToken } from '../../src/providers/index.js'
import { Metrics } from '../../src/report/metrics.js'
import { bare, plain } from '../../src/workflows/web-ui.js'
import { polite, type Script, startScript } from '../support/receiving-system.js'

const EVIL = [
  '\r\nRCPT TO:<eve@example.org>\r\n',
  '\nBcc: eve@example.org',
  '\0',
  '\u0085',
  '\u2028',
  '\u001b[2J',
  '<script>',
  '`x`',
  '=cmd|x',
]
const anything = fc.string({
  unit: fc.oneof(fc.constantFrom(...EVIL), fc.constantFrom('a', '@', '.', ' ', '<', '>', '"', ',')),
  maxLength: 12,
})
const good = {
  recipient: 'ann@example.org',
  sender: 'shop@example.com',
  messageId: 'm@example.com',
  message: { stored: 'x' },
  bounce: { status: '4.3.2', bouncedAt: '2026-11-26T10:00:00Z' },
}

describe('SMTP commands', () => {
  let system: Script
  beforeAll(async () => {
    system = await startScript((line) => polite(line))
  })
  afterAll(() => system.close())

  test('no sender, recipient or envelope ID injects an SMTP command or changes the recipient', async () => {
    await fc.assert(
      fc.asyncProperty(anything, anything, anything, async (before, after, envid) => {
        system.heard.length = 0
        const recipient = `ann${before}@example.org${after}`
        await transact({
          path: { kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'off' },
          ehloDomain: 'softbounce.example.com',
          timeouts: { ...DEFAULT_TIMEOUTS, connectMs: 2000, bannerMs: 2000, greetingMs: 2000, finalDotMs: 2000 },
          sender: `shop${after}@example.com`,
          recipient,
          content: canonicalMessage(Buffer.from('From: a@example.com\r\n\r\nhello\r\n')),
          envid,
          beforeContent: async () => true,
          signal: new AbortController().signal,
        })
        const verbs = system.heard.map((line) => line.split(/[ :]/)[0])
        expect(verbs.filter((verb) => verb === 'RCPT').length).toBeLessThanOrEqual(1)
        expect(verbs.filter((verb) => verb === 'MAIL').length).toBeLessThanOrEqual(1)
        expect(system.heard.filter((line) => /^RCPT TO:<eve@/.test(line))).toEqual([])
      }),
      { numRuns: 150 },
    )
  }, 60_000)
})

describe('the input of a workflow', () => {
  test('accepted addresses and Message-IDs contain no line break or control character', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('recipient', 'sender', 'messageId'),
        fc.constantFrom('\r\n', '\n', '\0', '\u001b', '\u007f'),
        (field, evil) => {
          const value = { ...good, [field]: good[field as 'recipient'].replace('@', `${evil}@`) }
          expect(checkBouncedMessage(value)).toHaveProperty('faults')
        },
      ),
    )
    expect(checkBouncedMessage(good)).toHaveProperty('value')
  })
})

describe('what a person sees', () => {
  test('a reply is plain text in the Web UI: no link, image, code, table or HTML', () => {
    fc.assert(
      fc.property(anything, (text) => {
        const shown = plain(`${text}[x](http://evil.example)![y](z)|a|<b>`)
        expect(shown).not.toMatch(/[<>`*_[\]()|!\\]/)
        expect(shown).not.toMatch(/[\r\n]/)
        expect(bare(text)).not.toMatch(/[<>`*[\]()|!\\\r\n]/)
      }),
    )
  })

  test('a terminal gets no control character and no bidirectional override', () => {
    fc.assert(
      fc.property(anything, (text) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
        expect(printable(`${text}\u202e`)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/)
      }),
    )
  })

  test('a metric label is quoted, and contains no address', async () => {
    const metrics = new Metrics()
    metrics.attemptAnswered({ retry: 1 }, 'deferred', '4.3.2', 'a"\n} evil{x="1')
    const text = await metrics.registry.metrics()
    expect(text).toContain('softbounce_unavailable_deferrals_total{destination="a\\"\\n} evil{x=\\"1"} 1')
    expect(text.split('\n').filter((line) => /^\s*\}? ?evil/.test(line))).toEqual([])
  })
})

test('the field added for a provider is always one separate line', () => {
  const message = Buffer.from('From: a@example.com\r\n\r\nx\r\n')
  for (const provider of ['ses', 'sendgrid', 'mailgun', 'postmark', 'resend'] as const)
    expect(withToken(provider, message, 'abc').toString().split('\r\n')).toHaveLength(message.toString().split('\r\n').length + 1)
})
