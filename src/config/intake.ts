/** Settings of signed return paths, and of the intake of bounces. */
import { maxStaggerMs } from '../bounce/index.js'
import { parseReturnPathTemplate, type ReturnPaths } from '../delivery/return-path.js'
import { DAY, flag, integer, type Listen, parsed, parseKeys, parseListen } from './parsers.js'
import type { Values } from './setting.js'

export const BOUNCE_SETTINGS = {
  RETURN_PATH: {
    default: 'bounce+{token}@{domain}',
    doc: 'The signed return path that tracked messages and retries get, where `RETURN_PATH_KEYS` is set: `{token}` stands for the signature, `{domain}` for the sender’s domain. Mail to it must reach `softbounce intake` or `softbounce take`.',
    schema: parsed(parseReturnPathTemplate),
  },
  RETURN_PATH_KEYS: {
    default: '',
    doc: 'The keys that sign return paths, separated by commas: base64 of at least 16 bytes each (`openssl rand -base64 32`). The first signs, all of them verify: a new key goes in front, an old one goes when its return paths have run out.',
    schema: parsed(parseKeys),
    secret: true,
  },
  INTAKE_LISTEN: {
    default: '',
    doc: 'Where `softbounce intake` listens for LMTP: `127.0.0.1:2003`, or `unix:/run/softbounce/lmtp.sock`.',
    schema: parsed(parseListen),
  },
  INTAKE_IS_TRUSTED: {
    default: 'false',
    doc: 'The intake gets mail from our own mail system only: reports that a host in `OWN_SYSTEMS` made itself are authenticated without a signed return path.',
    schema: flag,
  },
  INTAKE_MAX_SIZE: {
    default: '32',
    doc: 'Largest mail that the intake takes, in MiB.',
    schema: integer(1, 50),
  },
  INTAKE_MAX_CONNECTIONS: {
    default: '10',
    doc: 'Maximum LMTP connections at once; further ones get a 421.',
    schema: integer(1, 1000),
  },
} as const

export interface IntakeSettings {
  readonly listen: Listen | null
  readonly isTrusted: boolean
  readonly maxBytes: number
  readonly maxConnections: number
}

export function intakeSettings(v: Values<typeof BOUNCE_SETTINGS>): IntakeSettings {
  return {
    listen: v.INTAKE_LISTEN,
    isTrusted: v.INTAKE_IS_TRUSTED,
    maxBytes: v.INTAKE_MAX_SIZE * 1024 * 1024,
    maxConnections: v.INTAKE_MAX_CONNECTIONS,
  }
}

/**
 * Null if no key is set: then nothing is signed, and no return path is authenticated.
 * A return path is valid for the whole schedule, plus the relay's queue lifetime for the original and each retry: bounces may be that late.
 */
export function returnPaths(v: Values<typeof BOUNCE_SETTINGS>, scheduleMs: readonly number[], confirmWithinMs: number): ReturnPaths | null {
  if (v.RETURN_PATH_KEYS.length === 0) return null
  const ms = scheduleMs.reduce((sum, delayMs) => sum + delayMs + maxStaggerMs(delayMs) + confirmWithinMs, confirmWithinMs)
  return { template: v.RETURN_PATH, keys: v.RETURN_PATH_KEYS, validDays: Math.ceil(ms / DAY) + 1 }
}
