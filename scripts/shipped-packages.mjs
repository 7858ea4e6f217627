// The packages that run with softbounce, by their paths in the lockfile: its dependencies, its peers, and what is bundled into it.
import { readFileSync } from 'node:fs'

const read = (name) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))
const { packages } = read('package-lock.json')
const { dependencies, peerDependencies } = read('package.json')
/** Built into dist by esbuild. */
const BUNDLED = ['echarts']

/** What users install, or get: each with a reason in docs/decisions.md. */
export const direct = [...Object.keys(dependencies), ...Object.keys(peerDependencies), ...BUNDLED]

/** Where Node finds a package from this path. */
function find(name, from) {
  for (let at = from; ; at = at.slice(0, Math.max(at.lastIndexOf('/node_modules/'), 0))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (at === '') return null
  }
}

/** Path -> entry of the lockfile. */
export function shippedPackages() {
  const found = new Map()
  const left = direct.map((name) => [name, ''])
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const path = find(...next)
    if (path === null || found.has(path)) continue
    const entry = packages[path]
    found.set(path, entry)
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) left.push([name, path])
  }
  return found
}
