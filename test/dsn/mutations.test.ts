/** At least 97 % of known bounces read the same after changes that must not matter. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseReport } from '../../src/dsn/index.js'
import { PROVIDERS } from '../corpus/systems/providers.js'
import { bouncesOf } from '../corpus/systems/system.js'
import { UNIX } from '../corpus/systems/unix.js'
import { WINDOWS } from '../corpus/systems/windows.js'
import { MUTATIONS } from './mutations.js'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
/** Mails of a folder, as binary strings; none if it is missing. */
const mailsOf = (folder: string): [string, string][] =>
  !existsSync(folder)
    ? []
    : readdirSync(folder)
        .filter((name) => name.endsWith('.eml'))
        .map((name) => [name, readFileSync(`${folder}/${name}`).toString('latin1')])

const MAILS: readonly [string, string][] = [
  ...mailsOf(here('../corpus/real')),
  ...mailsOf(here('../../../shared/bounces/open')),
  ...mailsOf(here('../../../shared/bounces/unseen')),
  ...[...UNIX, ...WINDOWS, ...PROVIDERS]
    .flatMap(bouncesOf)
    .map(({ name, mail }): [string, string] => [name, Buffer.from(mail).toString('latin1')]),
]

/** What must not change: whom it is about, what became of it, and which message. */
async function readingOf(mail: string): Promise<string> {
  const report = await parseReport(Buffer.from(mail, 'latin1'))
  if (report === null) return 'nothing'
  const recipients = report.recipients.map(({ recipient, status, action }) => `${recipient.toLowerCase()} ${action} ${status}`)
  return [report.kind, ...recipients.sort(), report.messageId].join(' | ')
}

test('known bounces, changed in what must not matter, read the same', { timeout: 240_000 }, async () => {
  const changed: string[] = []
  const of: Record<string, [same: number, all: number]> = {}
  for (const [name, raw] of MAILS) {
    const mail = raw.replaceAll('\r\n', '\n')
    const before = await readingOf(mail)
    for (const [kind, mutate] of Object.entries(MUTATIONS)) {
      const mutated = mutate(mail)
      if (mutated === null || mutated === mail) continue
      of[kind] ??= [0, 0]
      const tally = of[kind]
      tally[1] += 1
      const after = await readingOf(mutated)
      if (after === before) tally[0] += 1
      else changed.push(`${name}, ${kind}: ${before} -> ${after}`)
    }
  }
  const all = Object.values(of).reduce((sum, [, n]) => sum + n, 0)
  if (process.env.TEST_MUTATIONS !== undefined)
    process.stdout.write(`${changed.join('\n')}\n${JSON.stringify(of)}\n${MAILS.length} mails, ${all} mutants, ${changed.length} changed\n`)
  expect(all).toBeGreaterThan(2000)
  expect(changed.length / all).toBeLessThanOrEqual(0.03)
})
