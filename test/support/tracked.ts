/** A receiving system and a database for the tests of `track`: made before all tests of a file, and reset before each. */
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { sqliteDatabase } from './databases.js'
import { type ReceivingSystem, startReceivingSystem } from './receiving-system.js'

export const returnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }

/** The same as options. */
export const RETURN_PATH = { keys: [Buffer.alloc(32, 7).toString('base64')] }

export interface TrackedWorld {
  system: ReceivingSystem
  sqlite: Awaited<ReturnType<typeof sqliteDatabase>>
}

/** Registers the hooks; the world is there once the tests run. */
export function trackedWorld(): TrackedWorld {
  const world = {} as TrackedWorld
  beforeAll(async () => {
    world.system = await startReceivingSystem()
    world.sqlite = await sqliteDatabase()
  })
  afterAll(async () => {
    await world.system.close()
    await world.sqlite.close()
  })
  beforeEach(() => {
    world.system.say = {}
    world.system.taken.length = 0
  })
  return world
}

/** What `track` takes for it, and where nodemailer's transport connects to. */
export const trackOptions = ({ sqlite }: TrackedWorld) => ({ database: { url: sqlite.url }, returnPath: RETURN_PATH })
export const transportTo = ({ system }: TrackedWorld) => ({ host: '127.0.0.1', port: system.port, secure: false, ignoreTLS: true })
