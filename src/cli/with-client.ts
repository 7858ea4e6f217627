/** Shared by commands that need a client, the operator's name, or `--limit`. */
import { userInfo } from 'node:os'
import type { SoftbounceClient } from '../client/index.js'
import { readSettings } from '../config/index.js'
import { CommandFailed } from './output.js'

/** Connects, runs `work`, and closes. Loads the client lazily, so that other commands start faster. */
export async function withClient(work: (client: SoftbounceClient) => Promise<void>): Promise<void> {
  const { SoftbounceClient } = await import('../client/index.js')
  const client = await SoftbounceClient.open(readSettings())
  try {
    await work(client)
  } finally {
    await client.close()
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
