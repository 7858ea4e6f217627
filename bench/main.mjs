// Benches: npm run bench [-- NAME…]. Figures of one run; compare only those of the same run.
import { filter } from './filter.mjs'
import { herd } from './herd.mjs'
import { life } from './life.mjs'
import { reading } from './reading.mjs'
import { report } from './report.mjs'
import { sends } from './sends.mjs'
import { turns } from './turns.mjs'

const BENCHES = { filter, reading, report, turns, herd, life, sends }
const names = process.argv.slice(2)
const unknown = names.filter((name) => !(name in BENCHES))
if (unknown.length > 0) {
  console.error(`no bench ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`)
  process.exit(2)
}
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue
  console.table(await bench())
}
