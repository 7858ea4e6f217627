/** Bounces for 4.3.2 and 5.1.1 by real mail systems of Debian, recorded by test/corpus/make-corpus.sh. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseReport } from '../../src/dsn/index.js'

const real = (name: string) => readFileSync(fileURLToPath(new URL(`../corpus/real/${name}.eml`, import.meta.url)))
const DOWN = '421 4.3.2 System not accepting network messages'

test.each([
  ['postfix-down', 'failed', '4.3.2', DOWN, 'whole'],
  ['exim-down', 'failed', '4.3.2', `${DOWN}: retry timeout exceeded`, 'headers'],
  // both state the problem only in the text
  ['opensmtpd-down', 'delayed', '4.3.2', DOWN, 'headers'],
  ['sendmail-down', 'failed', '4.3.2', DOWN, 'headers'],
  ['postfix-gone', 'failed', '5.1.1', '550 5.1.1 <gone@example.org>: no such mailbox', 'whole'],
  ['exim-gone', 'failed', '5.1.1', '550 5.1.1 <gone@example.org>: no such mailbox', 'headers'],
  ['opensmtpd-gone', 'failed', '5.1.1', '550 5.1.1 <gone@example.org>: no such mailbox', 'headers'],
  ['sendmail-gone', 'failed', '5.1.1', '550 5.1.1 <gone@example.org>: no such mailbox', 'headers'],
])('%s: %s %s', async (name, action, status, diagnostic, returned) => {
  const who = name.endsWith('down') ? 'down' : 'gone'
  const read = await parseReport(real(name))
  expect(read).toMatchObject({
    kind: 'bounce',
    reportingMta: 'mail.example.com',
    messageId: `invoice-${who}@example.com`,
    returned,
    recipients: [{ recipient: `${who}@example.org`, action, status, diagnostic, replyCode: Number(diagnostic.slice(0, 3)) }],
  })
  expect(read?.date?.getTime()).toBeGreaterThan(Date.parse('2026-11-01'))
})
