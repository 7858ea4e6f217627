/** `softbounce read`: files, standard input, mbox files, Maildirs, and unreadable input. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { temporaryFolder } from '../support/databases.js'
import { runCli } from '../support/real-time.js'

const corpus = fileURLToPath(new URL('../corpus/real/', import.meta.url))
const down = join(corpus, 'postfix-down.eml')
const folder = temporaryFolder()
afterAll(() => folder.remove())
const env = { PATH: process.env.PATH as string }
const read = (args: readonly string[], input?: string) => runCli(folder.path, env, ['read', ...args], input)
const rows = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

test('terminal control characters are escaped, in JSON too', async () => {
  const mail = readFileSync(down, 'utf8').replaceAll('421 4.3.2 System', '421 4.3.2 \u009b31m\u202eSystem')
  const { stdout } = await read(['--json', '-'], mail)
  expect(stdout).not.toMatch(/[\u007f-\u009f\u202e]/)
  expect(rows(stdout)[0].bounces[0].diagnostic).toContain('\u009b31m\u202eSystem')
})

test('--json prints one object per file, with its bounces', async () => {
  const files = readdirSync(corpus).map((name) => join(corpus, name))
  const { status, stdout } = await read(['--json', ...files])
  expect(status).toBe(0)
  const all = rows(stdout)
  expect(all.map((r) => r.file)).toEqual(files)
  expect(all.find((r) => r.file === down).bounces).toEqual([
    {
      recipient: 'down@example.org',
      kind: 'bounce',
      class: '4',
      status: '4.3.2',
      action: 'failed',
      statusFrom: 'field',
      statusField: '4.3.2',
      replyCode: 421,
      diagnostic: '421 4.3.2 System not accepting network messages',
      remoteMta: '127.0.0.1',
      messageId: 'invoice-down@example.com',
      sender: 'bounces@example.com',
      reportingMta: 'mail.example.com',
      date: expect.stringMatching(/^2026-/),
      arrivalDate: expect.stringMatching(/^2026-/),
      original: 'whole',
    },
  ])
})

test('text output has one line per bounce; - reads standard input', async () => {
  const { status, stdout } = await read(['-'], readFileSync(down, 'utf8'))
  expect(status).toBe(0)
  expect(stdout).toBe(
    '-: down@example.org: failed 4.3.2 (421 4.3.2 System not accepting network messages), message invoice-down@example.com\n',
  )
})

test('an mbox counts as one file with many mails, a Maildir as many files', async () => {
  const mails = ['postfix-down', 'exim-gone', 'sendmail-down'].map((name) =>
    readFileSync(join(corpus, `${name}.eml`), 'utf8').replace(/\r\n/g, '\n'),
  )
  const mbox = join(folder.path, 'inbound.mbox')
  writeFileSync(mbox, mails.map((mail) => `From MAILER-DAEMON Wed Nov 25 08:00:00 2026\n${mail}\n`).join('\n'))
  const [one, more] = rows((await read(['--json', mbox])).stdout)
  expect(more).toBeUndefined()
  expect(one.bounces.map((b: { mail: number; recipient: string }) => [b.mail, b.recipient])).toEqual([
    [1, 'down@example.org'],
    [2, 'gone@example.org'],
    [3, 'down@example.org'],
  ])
  const maildir = join(folder.path, 'Maildir')
  for (const sub of ['new', 'cur', 'tmp']) mkdirSync(join(maildir, sub), { recursive: true })
  writeFileSync(join(maildir, 'new', 'a'), mails[0] as string)
  writeFileSync(join(maildir, 'cur', 'b:2,S'), mails[1] as string)
  expect(rows((await read(['--json', maildir])).stdout).map((r) => [r.file, r.bounces.length])).toEqual([
    [join(maildir, 'new', 'a'), 1],
    [join(maildir, 'cur', 'b:2,S'), 1],
  ])
})

test('an unreadable file is reported, and the others are still read', async () => {
  const letter = join(folder.path, 'letter.eml')
  writeFileSync(letter, 'From: ann@example.org\r\nSubject: hello\r\n\r\nHow are you?')
  const { status, stdout, stderr } = await read([join(folder.path, 'missing.eml'), folder.path, letter, down])
  expect(status).toBe(1)
  expect(stderr).toMatch(/missing\.eml: ENOENT/)
  expect(stderr).toMatch(/it is no Maildir/)
  expect(stdout.split('\n')[0]).toMatch(new RegExp(`^${letter}: no bounce: ann@example\\.org wrote it: no mail system`))
  expect(stdout).toContain('down@example.org: failed 4.3.2')
})
