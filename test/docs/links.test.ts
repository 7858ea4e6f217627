/** Every link of README, docs, examples and the other pages leads to a file, and to a heading in it, that exists. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const under = (folder: string) => (readdirSync(join(root, folder), { recursive: true }) as string[]).map((name) => join(folder, name))
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...under('docs'), ...under('examples')].filter((name) =>
  name.endsWith('.md'),
)

/** The fragment that GitHub gives a heading. */
const fragment = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')

const withoutCode = (text: string) => text.replace(/^( *)```[\s\S]*?^\1```/gm, '').replace(/`[^`\n]*`/g, '')

function anchors(page: string): Set<string> {
  const found = new Map<string, number>()
  const text = readFileSync(join(root, page), 'utf8').replace(/^( *)```[\s\S]*?^\1```/gm, '')
  const names = [...text.matchAll(/^#{1,6} (.*)$/gm)].map(([, heading = '']) => {
    const name = fragment(heading)
    const before = found.get(name) ?? 0
    found.set(name, before + 1)
    return before === 0 ? name : `${name}-${before}`
  })
  return new Set([...names, ...[...text.matchAll(/<a id="([^"]+)"/g)].map(([, id = '']) => id)])
}

test('links lead somewhere', () => {
  const broken: string[] = []
  let count = 0
  for (const page of pages)
    for (const [, target = ''] of withoutCode(readFileSync(join(root, page), 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      count += 1
      const [path = '', id] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      if (!existsSync(join(root, file))) broken.push(`${page}: ${target}: there is no such file`)
      else if (id !== undefined && file.endsWith('.md') && !anchors(file).has(id))
        broken.push(`${page}: ${target}: there is no such heading`)
    }
  expect(count).toBeGreaterThan(100)
  expect(broken).toEqual([])
})
