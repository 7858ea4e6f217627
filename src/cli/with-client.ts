/** What commands that need a client, or a person's name, have in common. */
import { userInfo } from 'node:os'
import type { SoftbounceClient } from '../client/index.js'
import { CommandFailed } from './output.js'

/** Connects, works, and closes. The client is loaded here: commands without it start faster. */
export async function withClient(work: (client: SoftbounceClient) => Promise<void>): Promise<void> {
  const { SoftbounceClient } = await import('../client/index.js')
  const client = await SoftbounceClient.connect()
  try {
    await work(client)
  } finally {
    await client.close()
  }
}

/** Who did it by hand, for the history. */
export const operator = () => `operator ${userInfo().username}`

/** `--limit`. */
export function limitOf(text: string): number {
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 1) throw new CommandFailed(`--limit ${text} is not a whole number, 1 or more`, 2)
  return limit
}
