/** Temporal's server and its schema tool, built once from their Go module and kept in the cache folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { cacheFolder } from '../dev-server/index.js'
import { withoutPostgres } from '../postgres/index.js'

const MODULE = 'go.temporal.io/server'
/** Folder of its main package in the module, and the name that `deploy/temporal/schema.sh` calls it by. */
const PROGRAMS = { 'cmd/server': 'temporal-server', 'cmd/tools/sql': 'temporal-sql-tool' }

const folderOf = (version: string) => join(cacheFolder(), `temporal-server-${version}`)
const isBuilt = (version: string) => Object.values(PROGRAMS).every((name) => existsSync(join(folderOf(version), name)))

function findGo(): string | undefined {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/local/go/bin'].map((folder) => join(folder, 'go')).find(existsSync)
}

/** Why a cluster cannot run here; null if it can. */
export function withoutCluster(version: string): string | null {
  if (withoutPostgres !== null) return withoutPostgres
  return isBuilt(version) || findGo() !== undefined
    ? null
    : `Temporal's server ${version} is built from source, and Go (https://go.dev) is not installed`
}

/**
 * The folder that holds `temporal-server` and `temporal-sql-tool`. The first call builds them, which takes some minutes.
 * @throws Error if Go is missing, or if the build fails.
 */
export function buildServer(version: string, say: (line: string) => void): string {
  const folder = folderOf(version)
  if (isBuilt(version)) return folder
  const go = findGo()
  if (go === undefined) throw new Error(withoutCluster(version) as string)
  mkdirSync(folder, { recursive: true })
  const work = mkdtempSync(join(folder, 'build-'))
  say(`softbounce: building Temporal's server ${version} once, which takes some minutes (kept in ${folder}) …`)
  try {
    const packages = Object.keys(PROGRAMS).map((path) => `${MODULE}/${path}@v${version}`)
    execFileSync(go, ['install', ...packages], { env: { ...process.env, GOBIN: work }, stdio: ['ignore', 'ignore', 'pipe'] })
    for (const [path, name] of Object.entries(PROGRAMS)) {
      const built = path.split('/').at(-1) as string
      // a rename within a folder is atomic: another process sees the whole file or none
      renameSync(join(work, built), join(folder, name))
    }
    return folder
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer }
    throw new Error(`Temporal's server ${version} could not be built by ${go}: ${(stderr?.toString() || message).trim().slice(-1000)}`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
