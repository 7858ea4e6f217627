/** A Python with the packages that a test needs, or null. In CI that is a failure. */
import { execFileSync } from 'node:child_process'

export function pythonWith(...modules: string[]): string | null {
  for (const python of [process.env.TEST_PYTHON, 'python3'].filter((p) => p !== undefined)) {
    try {
      execFileSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' })
      return python
    } catch {
      // try the next one
    }
  }
  if (process.env.CI === 'true') throw new Error(`in CI this may not be skipped: no Python with ${modules.join(', ')}`)
  return null
}
