/** The sources of settings: the environment and the file `.env`. */
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { WrongSettings } from './wrong-settings.js'

/** Where a setting's value came from. */
export type Source = 'environment' | '.env' | 'default'

export type Environment = Readonly<Record<string, string | undefined>>

/** The values of `.env` in the working directory; empty if there is no such file. */
export function readDotenv(path = '.env'): Environment {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new WrongSettings([`${path} could not be read: ${(error as Error).message}`])
  }
}

/** The environment for Temporal's own settings: `TEMPORAL_*` of `.env`, overridden by the environment. */
export function temporalEnvironment(environment: Environment = process.env, dotenv: Environment = readDotenv()): Record<string, string> {
  const all = { ...Object.fromEntries(Object.entries(dotenv).filter(([name]) => name.startsWith('TEMPORAL_'))), ...environment }
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined))
}
