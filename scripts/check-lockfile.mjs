// Checks that the lockfile names no registry host, so that it installs from any configured registry.
import { readFileSync } from 'node:fs'

const lock = readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')
if (/"resolved"\s*:|https?:\/\/[^"]*\.tgz/.test(lock)) {
  console.error(
    'package-lock.json names a registry host ("resolved"); make it anew with omit-lockfile-registry-resolved=true (.npmrc has it)',
  )
  process.exit(1)
}
