/** softbounce now, give-up, cancel: requests to an open retry. */
import type { Command } from 'commander'
import type { SoftbounceClient } from '../client/index.js'
import { CommandFailed, json, line } from './output.js'
import { withClient } from './with-client.js'

type Request = (client: SoftbounceClient, ref: { workflowId: string }) => Promise<string>

/** `now`, `give-up` and `cancel`: each asks one workflow, and prints its answer. */
export function addSteering(program: Command): void {
  add(program, 'now', 'send the waiting retry now; exit status 1 if it cannot be sent now', async (client, ref) => {
    const { retry, of } = await client.retryNow(ref)
    return of === 0 ? 'the first retry is sent as soon as the bounce is checked' : `retry ${retry} of ${of} is sent now`
  })
  add(program, 'give-up', 'stop retrying, and suppress the address now', async (client, ref) => {
    await client.giveUp(ref)
    return 'giving up; the address is suppressed'
  })
  add(program, 'cancel', 'stop retrying; nobody is suppressed', async (client, ref) => {
    // Temporal silently accepts the cancellation of a closed workflow
    if (!(await client.isOpen(ref))) throw notOpen(ref.workflowId)
    await client.cancel(ref)
    return 'cancelled'
  })
}

const notOpen = (workflowId: string) =>
  new CommandFailed(
    `${workflowId} is not open: there is no such workflow, or it has ended (softbounce status ADDRESS shows the workflow IDs of a recipient)`,
  )

function add(program: Command, name: string, description: string, request: Request): void {
  program
    .command(name)
    .description(description)
    .argument('<workflow-id>', 'as softbounce status prints it: bounce/<recipient>/<message-id>')
    .option('--json', 'print JSON')
    .action((workflowId: string, options: { json?: boolean }) => {
      if (!workflowId.startsWith('bounce/'))
        throw new CommandFailed(`${workflowId} is no workflow ID; softbounce status ${workflowId} shows those of a recipient`, 2)
      return withClient(async (client) => {
        const done = await request(client, { workflowId }).catch(async (error: Error) => {
          throw error.name === 'WorkflowNotFoundError'
            ? notOpen(workflowId)
            : error.name === 'RequestRefused'
              ? await refused(client, workflowId, error)
              : error
        })
        if (options.json) json({ workflowId, done })
        else line(`${workflowId}: ${done}`)
      })
    })
}

/** Why it was refused, and what the send that is under way waits for. */
async function refused(client: SoftbounceClient, workflowId: string, { message }: Error): Promise<CommandFailed> {
  const { trouble = null } = (await client.getById(workflowId)) ?? {}
  return new CommandFailed(`${workflowId}: ${message}${trouble === null ? '' : `; it waits: ${trouble.text}`}`)
}
