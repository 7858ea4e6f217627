// The bill of materials of what runs with softbounce (CycloneDX 1.5): its dependencies, its peers, and what is bundled into it. npm's own
// command leaves out what a development tool needs too.
import { readFileSync } from 'node:fs'
import { shippedPackages } from './shipped-packages.mjs'

const { name, version, license } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

const purl = (of, at) => `pkg:npm/${of.startsWith('@') ? `%40${of.slice(1)}` : of}@${at}`
/** The integrity of the lockfile (SRI) as a hash in hex. */
function hashes(integrity) {
  const [, algorithm, base64] = /^(sha\d+)-(.+)$/.exec(integrity ?? '') ?? []
  if (base64 === undefined) return {}
  return { hashes: [{ alg: algorithm.replace('sha', 'SHA-'), content: Buffer.from(base64, 'base64').toString('hex') }] }
}
const licences = (text) =>
  text === undefined ? {} : { licenses: [/ (OR|AND) /.test(text) ? { expression: text } : { license: { name: text } }] }

const components = new Map()
for (const [path, entry] of shippedPackages()) {
  const of = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const ref = purl(of, entry.version)
  components.set(ref, {
    ...{ type: 'library', 'bom-ref': ref, name: of, version: entry.version, purl: ref },
    ...{ ...licences(entry.license), ...hashes(entry.integrity) },
  })
}
const bom = {
  $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
  ...{ bomFormat: 'CycloneDX', specVersion: '1.5', version: 1 },
  metadata: {
    component: { type: 'application', 'bom-ref': purl(name, version), name, version, purl: purl(name, version), ...licences(license) },
  },
  components: [...components.values()].sort((a, b) => a['bom-ref'].localeCompare(b['bom-ref'])),
}
process.stdout.write(`${JSON.stringify(bom, null, 2)}\n`)
