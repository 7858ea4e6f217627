// Compares what `softbounce read --json` printed (standard input) with the readings beside each mail (NAME.json for NAME.eml).
//   softbounce read --json folder/*.eml | node scripts/compare-readings.mjs
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

let right = 0
const wrong = []
for await (const line of createInterface({ input: process.stdin })) {
  const { file, bounces } = JSON.parse(line)
  const expected = JSON.parse(readFileSync(file.replace(/\.eml$/, '.json'), 'utf8')).bounces
  const told = (bounce) => Object.keys(bounce).map((key) => `${key} ${bounce[key]}`)
  const differences = expected.flatMap((want, i) => {
    const got = bounces[i] ?? {}
    return told(want).filter((text) => !told(got).includes(text))
  })
  if (bounces.length !== expected.length) differences.push(`${expected.length} bounces, not ${bounces.length}`)
  if (differences.length === 0) right += 1
  else wrong.push(`${file}: expected ${differences.join(', ')}`)
}
for (const text of wrong) console.log(text)
console.log(`${right} of ${right + wrong.length} are read right`)
process.exitCode = wrong.length === 0 && right > 0 ? 0 : 1
