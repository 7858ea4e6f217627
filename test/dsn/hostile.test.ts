/** The parser handles any input in bounded time and memory; `npm run fuzz` does the same with more mails and prints figures. */
import { expect, test } from 'vitest'
import { parseReport, UnreadableMail } from '../../src/dsn/index.js'
import { problemOf } from '../fuzz/check.mjs'
import { hostileMail, random } from '../fuzz/mails.mjs'

const RUNS = process.env.CI === 'true' ? 10_000 : 1000

test(`${RUNS} hostile mails cause no crash, no hang and no invalid result`, { timeout: 120_000 }, async () => {
  const r = random(7)
  const bad: string[] = []
  for (let i = 0; i < RUNS; i += 1) {
    const mail = hostileMail(r)
    const problem = await problemOf(mail, parseReport, UnreadableMail)
    if (problem !== null) bad.push(`mail ${i}: ${problem}`)
  }
  expect(bad).toEqual([])
})

test('a mail of more than a million lines is not parsed', async () => {
  const mail = Buffer.from(`Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n${'\n'.repeat(1_000_000)}--b--\r\n`)
  await expect(parseReport(mail)).rejects.toThrow(UnreadableMail)
})
