/** Runs once for all tests: builds dist/ if stale, finds the Temporal programs, starts one dev server and one PostgreSQL. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { startCluster } from '../../dev/cluster/index.js'
import { findProgram, startDevServer, TEST_SERVER } from '../../dev/dev-server/index.js'
import { startSharedPostgres, withoutPostgres } from './databases.js'

declare module 'vitest' {
  export interface ProvidedContext {
    devServer: string
    testServer: string
    /** Of the shared PostgreSQL; null if its programs are not installed. */
    postgres: string | null
  }
}

const here = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** Whether the build is newer than all its sources. */
function isFresh(): boolean {
  const last = here('dist/workflow-bundle-traced.js')
  if (!existsSync(last)) return false
  const builtAt = statSync(last).mtimeMs
  const sources = ['src', 'dev'].flatMap((folder) =>
    readdirSync(here(folder), { recursive: true, encoding: 'utf8' }).map((name) => join(here(folder), name)),
  )
  return [...sources, here('scripts/build.mjs'), here('tsconfig.json'), here('package-lock.json')].every(
    (path) => statSync(path).mtimeMs < builtAt,
  )
}

export async function setup(project: TestProject) {
  if (!isFresh()) execFileSync(process.execPath, [here('scripts/build.mjs')], { stdio: 'inherit' })
  const say = (line: string) => process.stderr.write(`${line}\n`)
  project.provide('testServer', await findProgram(TEST_SERVER, say))
  const server = process.env.TEST_SUITE === 'cluster' ? await startCluster({ say }) : await startDevServer({ say })
  project.provide('devServer', server.address)
  const postgres = withoutPostgres === null ? await startSharedPostgres() : null
  project.provide('postgres', postgres?.url ?? null)
  return async () => {
    await server.stop()
    await postgres?.remove()
  }
}
