/** One mail for each kind of thing that real bounces show, with what it says. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { bouncesOf } from '../../src/cli/read.js'
import { parseReport } from '../../src/dsn/index.js'

const folder = fileURLToPath(new URL('../corpus/kinds/', import.meta.url))
const names = readdirSync(folder).flatMap((name) => (name.endsWith('.eml') ? [name.slice(0, -4)] : []))

test.each(names)('%s', async (name) => {
  const expected = JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')).bounces as Record<string, string>[]
  const report = await parseReport(readFileSync(`${folder}${name}.eml`))
  const bounces = (report === null ? [] : bouncesOf(report)) as Record<string, unknown>[]
  const said = bounces.map((bounce, i) => Object.fromEntries(Object.keys(expected[i] ?? bounce).map((key) => [key, String(bounce[key])])))
  expect(said).toEqual(expected)
})
