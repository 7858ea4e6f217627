/** Once for all tests: builds dist/, finds the Temporal programs, starts one dev server. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { findProgram, startDevServer, TEST_SERVER } from '../../dev/dev-server/index.js'

declare module 'vitest' {
  export interface ProvidedContext {
    devServer: string
    testServer: string
  }
}

export async function setup(project: TestProject) {
  execFileSync(process.execPath, [fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url))], { stdio: 'inherit' })
  const say = (line: string) => process.stderr.write(`${line}\n`)
  project.provide('testServer', await findProgram(TEST_SERVER, say))
  const server = await startDevServer({ say })
  project.provide('devServer', server.address)
  return () => server.stop()
}
