// Makes the peers dependencies, in the versions that are tested: for an image that runs softbounce by itself.
import { readFileSync, writeFileSync } from 'node:fs'

const file = new URL('../package.json', import.meta.url)
const { devDependencies, peerDependencies, peerDependenciesMeta: _meta, ...rest } = JSON.parse(readFileSync(file, 'utf8'))
const peers = Object.fromEntries(Object.keys(peerDependencies).map((name) => [name, devDependencies[name]]))
writeFileSync(file, `${JSON.stringify({ ...rest, dependencies: { ...rest.dependencies, ...peers } }, null, 2)}\n`)
