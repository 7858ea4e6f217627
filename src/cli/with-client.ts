/** Shared by commands that need a client, the operator's name, or `--limit`. */
import { userInfo } from 'node:os'
import { addressKey } from '../bounce/index.js'
import type { SoftbounceClient } from '../client/index.js'
import { readSettings } from '../config/index.js'
import { CommandFailed } from './output.js'

/** Connects, runs `work`, and closes. Loads the client lazily, so that other commands start faster. */
export async function withClient(work: (client: SoftbounceClient) => Promise<void>): Promise<void> {
  const { SoftbounceClient } = await import('../client/index.js')
  const { openForCommand } = await import('./with-database.js')
  const settings = readSettings()
  const database = openForCommand(settings)
  try {
    const client = await SoftbounceClient.open(settings, { database })
    try {
      await work(client)
    } finally {
      await client.close()
    }
  } finally {
    await database.close()
  }
}

/** An address argument, folded. @throws CommandFailed with status 2 if it is none. */
export function addressArgument(text: string): string {
  try {
    return addressKey(text)
  } catch (error) {
    throw new CommandFailed((error as Error).message, 2)
  }
}

/** The operator's name, for the history. */
export const operator = () => `operator ${userInfo().username}`

/** Parses `--limit`. */
export function limitOf(text: string): number {
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 1) throw new CommandFailed(`--limit ${text} is not a whole number, 1 or more`, 2)
  return limit
}
