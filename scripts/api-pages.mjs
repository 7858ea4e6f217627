// Generates docs/api/, one page an entry point, from the built declarations (TypeDoc). With --check, only verifies that it is up to date.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const tool = fileURLToPath(new URL('api-docs/', import.meta.url))
const pages = fileURLToPath(new URL('../docs/api/', import.meta.url))
/** What each entry point is for; the page is named like it. */
const ENTRIES = {
  softbounce: ['client/index.d.ts', 'Start, steer and look at retries; the suppression list; `track`.'],
  track: ['track.d.ts', 'Only `track`: for an application that has none of Temporal’s packages.'],
  plugin: ['plugin.d.ts', 'softbounce in a worker process that you have.'],
  worker: ['worker.d.ts', 'The worker, started from a program.'],
  nexus: ['nexus/index.d.ts', 'The Nexus service, for workflows in other namespaces.'],
  workflows: ['workflows/index.d.ts', 'The workflows, to export from your own bundle. Start them by the [contract](../protocol.md).'],
  activities: ['activities/index.d.ts', 'The activities, for a worker that you put together yourself. The plugin does that for you.'],
}

/** Links of docstrings are written for docs/; the pages are one folder deeper. */
const deeper = (text) =>
  text.replaceAll(/\]\(([\w/-]+\.md)/g, (whole, page) => (existsSync(join(pages, '..', page)) ? `](../${page}` : whole))

const folder = mkdtempSync(join(tmpdir(), 'softbounce-api-'))
try {
  if (!existsSync(join(tool, 'node_modules')))
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], {
      cwd: tool,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  const sources = join(folder, 'dist')
  const entryPoints = Object.values(ENTRIES).map(([file]) => join(tool, '../../dist', file))
  const options = join(folder, 'typedoc.json')
  writeFileSync(options, JSON.stringify({ extends: [join(tool, 'typedoc.json')], entryPoints, out: sources }))
  execFileSync(process.execPath, [join(tool, 'node_modules/typedoc/bin/typedoc'), '--options', options], {
    cwd: tool,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const made = new Map(
    readdirSync(sources)
      .filter((name) => name !== 'README.md')
      .map((name) => [name === 'client.md' ? 'softbounce.md' : name, readFileSync(join(sources, name), 'utf8')]),
  )
  const index = Object.entries(ENTRIES).map(
    ([name, [, doc]]) => `| [\`${name === 'softbounce' ? name : `softbounce/${name}`}\`](${name}.md) | ${doc} |`,
  )
  made.set(
    'README.md',
    `# API\n\nWhat each entry point of the package exports. These pages are made from the sources by \`npm run docs\`.\n\n| entry point | what it is for |\n|---|---|\n${index.join('\n')}\n`,
  )
  const texts = [...made].map(([name, text]) => [
    name,
    deeper(text.replaceAll('client.md', 'softbounce.md').replace(/^# client$/m, '# softbounce')),
  ])
  const stale = texts.filter(([name, text]) => !existsSync(join(pages, name)) || readFileSync(join(pages, name), 'utf8') !== text)
  if (process.argv.includes('--check')) {
    if (stale.length > 0) {
      console.error(`docs/api is not up to date (${stale.map(([name]) => name).join(', ')}): run npm run docs`)
      process.exitCode = 1
    }
  } else {
    mkdirSync(pages, { recursive: true })
    for (const name of readdirSync(pages)) if (!made.has(name)) rmSync(join(pages, name))
    for (const [name, text] of texts) writeFileSync(join(pages, name), text)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
