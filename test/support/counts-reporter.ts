/** Ends a run with one plain line: `N passed, N failed, N skipped`. In CI a test that was skipped for a missing program is a failure. */
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
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}

// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default CountsReporter
