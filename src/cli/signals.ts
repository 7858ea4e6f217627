/** softbounce now, give-up, cancel: signals to an open retry. */
import type { Command } from 'commander'
import type { SoftbounceClient } from '../client/index.js'
import { readSettings } from '../config/index.js'
import { CommandFailed, json, line } from './output.js'

/** `now`, `give-up` and `cancel`: each signals or cancels one workflow. */
export function addSteering(program: Command): void {
  steer(program, 'now', 'send the retry that waits now', 'retry asked for', (client, ref) => client.retryNow(ref))
  steer(program, 'give-up', 'stop retrying, and suppress the address now', 'giving up', (client, ref) => client.giveUp(ref))
  steer(program, 'cancel', 'stop retrying; nobody is suppressed', 'cancelled', async (client, ref) => {
    // Temporal silently accepts the cancellation of a closed workflow
    if (!(await client.isOpen(ref))) throw notOpen(ref.workflowId)
    await client.cancel(ref)
  })
}

const notOpen = (workflowId: string) =>
  new CommandFailed(
    `${workflowId} is not open: there is no such workflow, or it has ended (softbounce status ADDRESS shows the workflow IDs of a recipient)`,
  )

type Tell = (client: SoftbounceClient, ref: { workflowId: string }) => Promise<void>

function steer(program: Command, name: string, description: string, done: string, tell: Tell): void {
  program
    .command(name)
    .description(description)
    .argument('<workflow-id>', 'as softbounce status prints it: bounce/<recipient>/<message-id>')
    .option('--json', 'print JSON')
    .action(async (workflowId: string, options: { json?: boolean }) => {
      if (!workflowId.startsWith('bounce/'))
        throw new CommandFailed(`${workflowId} is no workflow ID; softbounce status ${workflowId} shows those of a recipient`, 2)
      const { SoftbounceClient } = await import('../client/index.js')
      const client = await SoftbounceClient.open(readSettings())
      let waits = ''
      try {
        // a retry that waits for its permit is already due: the signal cannot hurry it
        const { trouble = null } = name === 'now' ? ((await client.getById(workflowId)) ?? {}) : {}
        if (trouble?.waiting) waits = `; it is past its time already, and waits: ${trouble.text}`
        await tell(client, { workflowId })
      } catch (error) {
        throw (error as Error).name === 'WorkflowNotFoundError' ? notOpen(workflowId) : error
      } finally {
        await client.close()
      }
      if (options.json) json({ workflowId, done })
      else line(`${workflowId}: ${done}${waits}`)
    })
}
