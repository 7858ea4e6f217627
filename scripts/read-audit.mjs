// Reads `npm audit --json`: fails on a known vulnerability; an unreachable registry is only reported.
import { text } from 'node:stream/consumers'
import { shippedPackages } from './shipped-packages.mjs'

const shipped = new Set([...shippedPackages().keys()].map((path) => path.slice(path.lastIndexOf('node_modules/') + 13)))
const { metadata, vulnerabilities = {}, message } = JSON.parse(await text(process.stdin))
if (metadata === undefined) console.log(`not known: ${message ?? 'the registry does not answer'}`)
else {
  const names = Object.entries(vulnerabilities)
    .filter(([name]) => shipped.has(name))
    .map(([name, { severity }]) => `${name} (${severity})`)
  console.log(names.length === 0 ? 'no known vulnerability' : names.join('\n'))
  process.exitCode = names.length === 0 ? 0 : 1
}
