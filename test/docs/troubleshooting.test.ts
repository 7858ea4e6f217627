/** docs/troubleshooting.md quotes what the code says: a reader searches the page for the words that he sees. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
  .join('\n')
  .replaceAll("\\'", "'")

/** Words of other programs: Temporal, Node, PostgreSQL, a mail system. */
const OTHERS = [
  'listen EADDRINUSE',
  'Failed to process Workflow Activation',
  'Failing workflow task',
  'Activity failed',
  'Workflow failed',
  'address already in use',
  'relaying denied',
  'NOT_FOUND',
  'connect ECONNREFUSED',
  'does not exist',
  'cannot execute INSERT in a read-only transaction',
  'is not found',
]
const SHORTEST = 12

test('each text that the page quotes stands in the code', () => {
  const page = readFileSync(join(root, 'docs', 'troubleshooting.md'), 'utf8')
  const [tables = ''] = page.split('## Practise failures')
  const symptoms = tables
    .split('\n')
    .filter((line) => /^\| [^-]/.test(line))
    .flatMap((line) => [...(line.split(' | ')[0] as string).matchAll(/`([^`]+)`/g)].map(([, text]) => text as string))
  expect(symptoms.length).toBeGreaterThan(100)
  const missing = symptoms
    // where a finding, a name or a number stands in between
    .flatMap((text) => text.replace(/^[A-Za-z ]+: /, '').split(/…|"|\d+|[()]|: /))
    .map((part) => part.replace(/^[\s.,;:]+|[\s.,;:]+$/g, ''))
    .filter((part) => part.length >= SHORTEST && !OTHERS.some((words) => part.includes(words)))
    .filter((part) => !sources.includes(part))
  expect(missing).toEqual([])
})
