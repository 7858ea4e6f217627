/** Runs the command in the test's process: starting Node costs more than most commands. */
import { runCommand } from '../../src/cli/program.js'

export interface CliResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Serialized, as a command uses the process's environment, working directory and output. */
let last: Promise<unknown> = Promise.resolve()

export function runHere(cwd: string, env: Record<string, string>, args: readonly string[]): Promise<CliResult> {
  const run = last.then(() => inPlaceOfTheProcess(cwd, env, args))
  last = run.catch(() => {})
  return run
}

async function inPlaceOfTheProcess(cwd: string, env: Record<string, string>, args: readonly string[]): Promise<CliResult> {
  const before = { cwd: process.cwd(), env: process.env, stdout: process.stdout.write, stderr: process.stderr.write }
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  const into = (stream: 'stdout' | 'stderr') =>
    ((chunk: string | Uint8Array, encoding?: unknown, done?: (error?: Error) => void) => {
      written[stream].push(Buffer.from(chunk as Uint8Array))
      const callback = typeof encoding === 'function' ? (encoding as () => void) : done
      if (callback !== undefined) setImmediate(callback)
      return true
    }) as typeof process.stdout.write
  try {
    process.chdir(cwd)
    process.env = { ...env }
    process.stdout.write = into('stdout')
    process.stderr.write = into('stderr')
    const status = await runCommand(args)
    return { status, stdout: Buffer.concat(written.stdout).toString(), stderr: Buffer.concat(written.stderr).toString() }
  } finally {
    process.stdout.write = before.stdout
    process.stderr.write = before.stderr
    process.env = before.env
    process.chdir(before.cwd)
  }
}
