/** The disk that fails on demand: chaos/disk.c, compiled once for a run. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { programPath } from './programs.js'

/** Why these tests are skipped; null if a C compiler is installed. */
export const withoutCompiler: string | null = programPath('cc') === null ? 'a C compiler (cc) is not installed' : null

/** Compiles it into the folder. @returns its path, for LD_PRELOAD. */
export function failingDisk(folder: string): string {
  const library = join(folder, 'disk.so')
  const source = fileURLToPath(new URL('../../chaos/disk.c', import.meta.url))
  execFileSync('cc', ['-O1', '-shared', '-fPIC', '-o', library, source, '-ldl'])
  return library
}
