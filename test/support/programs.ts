/** External programs that tests need: if one is missing the test is skipped with the reason; in CI that is a failure. */
import { execFileSync } from 'node:child_process'

const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin:/usr/lib/postfix/sbin:/usr/lib/dovecot`

/** The path of a program, or null. */
export function programPath(name: string): string | null {
  try {
    return execFileSync('/bin/sh', ['-c', 'command -v "$0"', name], { env: { ...process.env, PATH }, encoding: 'utf8' }).trim()
  } catch {
    return null
  }
}

/** Why a test that needs these programs (and root, if they change users) cannot run here; null if it can. */
export function whyNot(programs: readonly string[], asRoot = true): string | null {
  const missing = programs.filter((name) => programPath(name) === null)
  const reason =
    missing.length > 0 ? `${missing.join(', ')} not installed` : asRoot && process.getuid?.() !== 0 ? 'needs root: it changes users' : null
  if (reason !== null && process.env.CI === 'true') throw new Error(`in CI this may not be skipped: ${reason}`)
  return reason
}
