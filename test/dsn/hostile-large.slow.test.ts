/** The largest hostile mails are parsed with little memory. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

// in a process with a small heap: unbounded memory use would crash it
test('large hostile mails are read in 512 MiB', { timeout: 240_000 }, () => {
  const script = fileURLToPath(new URL('../../scripts/fuzz.mjs', import.meta.url))
  const out = execFileSync(process.execPath, ['--expose-gc', '--max-old-space-size=512', script, '--runs', '1', '--seed', '1', '--large'], {
    encoding: 'utf8',
  })
  const rows = out.trim().split('\n').slice(1)
  expect(rows.length).toBeGreaterThan(15)
  for (const row of rows) expect(row).toMatch(/ MiB +\d+ ms +\d+ MiB$/)
})
