/**
 * Ends a run with one plain line: `N passed, N failed, N skipped`. In CI a test that was skipped for a missing program is a failure.
 * With TEST_DURATIONS=1 it also writes how long each file took, by which the next runs order the files.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

export class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed' || state === 'failed') counts[state] += 1
        else counts.skipped += 1
      }
    }
    if (process.env.CI === 'true' && counts.skipped > 0) {
      process.stdout.write(`${counts.skipped} skipped: in CI every program is there, so that is a failure\n`)
      process.exitCode = 1
    }
    if (process.env.TEST_DURATIONS === '1') writeDurations(modules)
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}

export const DURATIONS = new URL('./durations.json', import.meta.url)

/** Seconds of each file, by its path from the root; files that did not run keep theirs. */
export const measuredDurations = (): Record<string, number> => JSON.parse(readFileSync(DURATIONS, 'utf8'))

function writeDurations(modules: readonly TestModule[]): void {
  const seconds = modules.map((module) => [module.relativeModuleId, Math.round(module.diagnostic().duration / 1000)] as const)
  const all = { ...measuredDurations(), ...Object.fromEntries(seconds) }
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync(DURATIONS, `${JSON.stringify(sorted, null, 2)}\n`)
}

// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default CountsReporter
