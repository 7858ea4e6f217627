/** No regular expression for untrusted input backtracks beyond a line's length: recheck checks every pattern. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tokenizer, tokTypes } from 'acorn'
import { checkSync } from 'recheck'
import { expect, test } from 'vitest'

const dist = fileURLToPath(new URL('../../dist/', import.meta.url))
/** Our folders that process untrusted input; dependencies are not checked. */
const FOLDERS = ['dsn', 'bounce', 'intake']

/** Steps decide, not the time that a busy machine takes for them. */
const STEPS_DECIDE = { timeout: 200_000, attackTimeout: null, incubationTimeout: null }

/** Regular expression literals in the built files, and those made by `new RegExp` when they load. */
async function patterns(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const Original = RegExp
  class Heard extends Original {
    constructor(pattern: string | RegExp, flags?: string) {
      super(pattern, flags)
      found.set(`/${this.source}/${this.flags}`, 'new RegExp')
    }
  }
  for (const folder of FOLDERS)
    for (const name of readdirSync(join(dist, folder), { recursive: true }) as string[]) {
      if (!name.endsWith('.js')) continue
      const path = join(dist, folder, name)
      for (const token of tokenizer(readFileSync(path, 'utf8'), { ecmaVersion: 'latest', sourceType: 'module' })) {
        if (token.type !== tokTypes.regexp) continue
        const { pattern, flags } = (token as unknown as { value: { pattern: string; flags: string } }).value
        found.set(`/${pattern}/${flags}`, `${folder}/${name}`)
      }
      if (folder !== 'dsn') continue
      globalThis.RegExp = Heard as unknown as RegExpConstructor
      try {
        await import(/* @vite-ignore */ `${path}?heard`)
      } finally {
        globalThis.RegExp = Original
      }
    }
  return found
}

test('no pattern backtracks catastrophically', { timeout: 240_000 }, async () => {
  const all = await patterns()
  expect(all.size).toBeGreaterThan(60)
  const bad: string[] = []
  for (const [text, where] of all) {
    const end = text.lastIndexOf('/')
    const result = checkSync(text.slice(1, end), text.slice(end + 1), STEPS_DECIDE)
    if (result.status !== 'safe')
      bad.push(`${where}: ${text} is ${result.status}${result.status === 'vulnerable' ? `: ${result.complexity.summary}` : ''}`)
  }
  expect(bad).toEqual([])
})
