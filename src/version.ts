import { readFileSync } from 'node:fs'
import { inPackage } from './paths.js'

/** The version of this package. */
export const { version: VERSION } = JSON.parse(readFileSync(inPackage('../package.json'), 'utf8')) as { version: string }
