// Checks softbounce's dependencies: licences compatible with MIT, no install scripts needed, and a documented reason for each direct one.
import { readFileSync } from 'node:fs'
import { direct, shippedPackages } from './shipped-packages.mjs'

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const decisions = read('docs/decisions.md')

/** Packages under EUPL-1.1+ and CC-BY-4.0 (the data of caniuse-lite) are used unmodified. */
const LICENCES = /^(MIT|MIT-0|ISC|0BSD|Apache-2\.0|BSD-[23]-Clause|Unlicense|BlueOak-1\.0\.0|CC0-1\.0|Python-2\.0|EUPL-1\.1\+|CC-BY-4\.0)$/
/** Licences stated only in the package's LICENSE file. */
const SAID_ELSEWHERE = { unionfs: 'Unlicense' }
/** protobufjs's only warns about version schemes; @swc/core's fetches a fallback binary if the platform has none. */
const HARMLESS_SCRIPTS = new Set(['protobufjs', '@swc/core'])

const faults = []
let count = 0
for (const [path, { license, hasInstallScript }] of shippedPackages()) {
  count += 1
  const name = path.slice(path.lastIndexOf('node_modules/') + 13)
  const said = (license ?? SAID_ELSEWHERE[name] ?? 'none').replace(/[()]/g, '')
  const goes = said.split(' OR ').some((one) => one.split(' AND ').every((part) => LICENCES.test(part)))
  if (!goes) faults.push(`${name}: the licence ${said} is not among those that are known to go with MIT`)
  if (hasInstallScript && !HARMLESS_SCRIPTS.has(name)) faults.push(`${name} has an install script`)
}
for (const name of direct) {
  const names = [name, name.replace('@temporalio/', ''), name.replace(/^(@opentelemetry\/).*/, '$1*')]
  if (!names.some((one) => decisions.includes(`\`${one}\``))) faults.push(`${name}: docs/decisions.md gives no reason for it`)
}
if (process.argv.includes('--count'))
  console.log(`${direct.length} direct dependencies and peers, ${count} packages in all (no development ones)`)
for (const fault of faults) console.error(fault)
process.exitCode = faults.length === 0 ? 0 : 1
