// Benches: npm run bench [-- NAME…] [--json FILE] [--compare FILE]. Figures of one run; compare only those of the same run, or ratios.
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { compared, worseIn } from './compare.mjs'
import { filter } from './filter.mjs'
import { flood } from './flood.mjs'
import { herd } from './herd.mjs'
import { permits } from './permits.mjs'
import { reading } from './reading.mjs'
import { report } from './report.mjs'
import { sends } from './sends.mjs'
import { sleeping } from './sleeping.mjs'
import { starts } from './starts.mjs'
import { startup } from './startup.mjs'
import { whole } from './whole.mjs'
import { workflow } from './workflow.mjs'

const BENCHES = { whole, workflow, startup, starts, sends, filter, reading, report, permits, herd, sleeping, flood }
const { values, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, compare: { type: 'string' } },
})
const unknown = names.filter((name) => !(name in BENCHES))
if (unknown.length > 0) {
  console.error(`no bench ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`)
  process.exit(2)
}
const before = values.compare === undefined ? null : JSON.parse(readFileSync(values.compare, 'utf8'))
const json = values.json ?? 'bench.json'
const results = { at: new Date().toISOString(), node: process.version, benches: {} }
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue
  const rows = await bench()
  console.log(`\n${name}`)
  console.table(rows)
  results.benches[name] = rows
  if (before?.benches[name] !== undefined) {
    console.table(compared(before.benches[name], rows))
    // ratios within a run hardly depend on the machine; a worse one is a reason to look, not to fail
    for (const text of worseIn(before.benches[name], rows)) console.log(`warning: ${name}: ${text}`)
  }
  // written after each bench, so that an interrupted run keeps its results
  writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`)
}
console.log(`\nwritten to ${json}`)
