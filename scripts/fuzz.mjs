// Parses hostile mails; fails on an exception, an invalid result, or more than a second for one mail.
//   npm run fuzz -- [--runs 10000] [--seed N] [--large]

import { parseReport, UnreadableMail } from '../dist/dsn/index.js'
import { problemOf } from '../test/fuzz/check.mjs'
import { hostileMail, LARGE, random } from '../test/fuzz/mails.mjs'
import { takeHeapUsage } from '../test/fuzz/measure.mjs'

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const runs = option('runs', 10_000)
const seed = option('seed', Date.now() % 2 ** 31)

let worst = { ms: 0, run: 0 }
let failed = 0
const r = random(seed)
for (let run = 0; run < runs; run += 1) {
  const mail = hostileMail(r)
  const began = performance.now()
  const problem = await problemOf(mail, parseReport, UnreadableMail)
  const ms = performance.now() - began
  if (ms > worst.ms) worst = { ms, run }
  if (problem !== null || ms > 1000) {
    failed += 1
    console.error(
      `seed ${seed}, mail ${run}: ${problem ?? `took ${Math.round(ms)} ms`}\n${JSON.stringify(mail.toString('latin1').slice(0, 2000))}`,
    )
  }
}
console.log(`${runs} mails, seed ${seed}: ${failed} problems; the slowest took ${worst.ms.toFixed(1)} ms (mail ${worst.run})`)

if (process.argv.includes('--large')) {
  for (const [name, make] of Object.entries(LARGE)) {
    const mail = make()
    const { ms, heapMb, value } = await takeHeapUsage(() => problemOf(mail, parseReport, UnreadableMail))
    console.log(
      `${name.padEnd(44)} ${(mail.length / 1048576).toFixed(1).padStart(5)} MiB ${ms.toFixed(0).padStart(6)} ms ${heapMb.toFixed(0).padStart(5)} MiB${value === null ? '' : `  ${value}`}`,
    )
    if (value !== null) failed += 1
  }
}
process.exitCode = failed === 0 ? 0 : 1
