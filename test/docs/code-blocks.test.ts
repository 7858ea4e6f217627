/** What README and docs show is true: their TypeScript compiles, their YAML is a right configuration, their commands and options exist. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commandNames } from '../../src/cli/program.js'
import { readSettings } from '../../src/config/index.js'
import { temporaryFolder } from '../support/databases.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = [
  'README.md',
  ...(readdirSync(join(root, 'docs'), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]

interface Block {
  readonly where: string
  readonly text: string
}

function blocks(kind: string): Block[] {
  return pages.flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8')
    return [...text.matchAll(new RegExp(`^( *)\`\`\`${kind}\\n([\\s\\S]*?)^ *\`\`\``, 'gm'))].map(
      ({ index, 1: indent = '', 2: code = '' }) => ({
        where: `${page}:${text.slice(0, index).split('\n').length}`,
        text: code.replace(new RegExp(`^${indent}`, 'gm'), ''),
      }),
    )
  })
}

/** An example of a docstring is an excerpt: what it takes for granted. */
const EXCERPT = `
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { NativeConnection, Worker } from '@temporalio/worker'
import nodemailer from 'nodemailer'
import { type BounceOf, fromEnvironment, SoftbounceClient, track } from 'softbounce'
import { softbouncePlugin } from 'softbounce/plugin'
import { runWorker } from 'softbounce/worker'
declare const client: SoftbounceClient, eml: Uint8Array, message: Uint8Array, bounce: BounceOf, url: string, workflowsPath: string
`
const excerpt = (text: string) => `${EXCERPT}export async function excerpt() {\n${text}\n}\n`

const folder = temporaryFolder()
afterAll(() => folder.remove())

test('TypeScript compiles, strictly', { timeout: 120_000 }, () => {
  const found = blocks('ts')
  expect(found.length).toBeGreaterThan(3)
  // within the package, its own name is found
  const at = join(root, 'test', 'docs', 'compiled')
  mkdirSync(at, { recursive: true })
  try {
    const declared = 'declare const originalBytes: Uint8Array, workflowsPath: string, activities: object\n'
    for (const [i, { where, text }] of found.entries())
      writeFileSync(
        join(at, `block-${i}.ts`),
        `// ${where}\n${where.startsWith('docs/api/') ? excerpt(text) : `${declared}${text}\nexport {}\n`}`,
      )
    writeFileSync(
      join(at, 'tsconfig.json'),
      JSON.stringify({
        extends: '../../../tsconfig.json',
        compilerOptions: { noEmit: true, rootDir: '../../..', noUnusedLocals: false },
        include: ['.'],
      }),
    )
    const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
    let said = ''
    try {
      execFileSync(process.execPath, [join(typescript, '..', 'bin', 'tsc'), '-p', at], { stdio: 'pipe' })
    } catch (error) {
      said = String((error as { stdout: Buffer }).stdout)
    }
    expect(said.replace(/block-(\d+)\.ts/g, (_, i) => found[Number(i)]?.where ?? '')).toBe('')
  } finally {
    rmSync(at, { recursive: true, force: true })
  }
})

describe('YAML is a right configuration', () => {
  test.each(blocks('yaml').map(({ where, text }) => [where, text] as const))('%s', (_, text) => {
    const file = join(folder.path, 'softbounce.yaml')
    writeFileSync(file, text.replaceAll('"..."', `"${Buffer.alloc(32, 1).toString('base64')}"`))
    expect(() => readSettings({ SOFTBOUNCE_CONFIG: file })).not.toThrow()
  })
})

describe('commands and options exist', () => {
  let known: Map<string, Command>
  beforeAll(async () => {
    const all = (command: Command, words: readonly string[]): [string, Command][] =>
      command.commands.flatMap((one) => [[[...words, one.name()].join(' '), one] as [string, Command], ...all(one, [...words, one.name()])])
    known = new Map(all(await commandNames(), []))
  })
  const lines = blocks('sh').flatMap(({ where, text }) =>
    text
      .split('\n')
      .map((one) => /^(?:npx )?softbounce +([^#|>&]+)/.exec(one.trim())?.[1]?.trim())
      .filter((line) => line !== undefined)
      .map((line) => [where, line] as const),
  )

  test('there are some', () => expect(lines.length).toBeGreaterThan(10))
  test.each(lines)('%s: softbounce %s', (_, line) => {
    const words = line.split(/\s+/)
    const name = known.has(words.slice(0, 2).join(' ')) ? words.slice(0, 2).join(' ') : (words[0] as string)
    const command = known.get(name)
    expect(command, name).toBeDefined()
    const options = [...(command as Command).options.map(({ long }) => long), '--config', '--help', '--version']
    for (const option of words.filter((word) => word.startsWith('--'))) expect(options).toContain(option.split('=')[0])
  })
})
