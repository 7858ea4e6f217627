/** softbounce status: the open retries, and the status of one message's. */
import type { Command } from 'commander'
import { nameOfAttempt } from '../bounce/index.js'
import type { RetryDescription, SoftbounceClient } from '../client/index.js'
import { describeProgress } from './describe-progress.js'
import { CommandFailed, json, line, table } from './output.js'
import { addressArgument, limitOf, withClient } from './with-client.js'

const AT_ONCE = 10

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('list open retries: which is next, when it is sent, and the last reply')
    .argument('[address|workflow-id]', 'the retries of one recipient, or one of them')
    .option('--limit <n>', 'maximum number', '100')
    .option('--watch', 'refresh every two seconds, until Ctrl-C')
    .option('--json', 'print JSON, one object a line')
    .action((which: string | undefined, options: { limit: string; watch?: boolean; json?: boolean }) => {
      const limit = limitOf(options.limit)
      if (which !== undefined && !which.startsWith('bounce/')) addressArgument(which)
      if (options.watch)
        return withClient(async (client) => {
          const { watch } = await import('./watch-status.js')
          await watch(client, which, (standing) => ({ whose: nameOf(standing), where: describeProgress(standing) }))
        })
      return withClient((client) =>
        which?.startsWith('bounce/') ? one(client, which, options.json === true) : several(client, which, limit, options.json === true),
      )
    })
}

async function one(client: SoftbounceClient, workflowId: string, asJson: boolean): Promise<void> {
  const standing = await client.getById(workflowId)
  if (standing === null)
    throw new CommandFailed(`there are no retries with the workflow ID ${workflowId}; softbounce status lists those that are open`)
  if (asJson) {
    json(standing)
    return
  }
  line(standing.summary ?? standing.workflowId)
  line(`  ${describeProgress(standing)}`)
  if (standing.trouble !== null) {
    const next = standing.trouble.nextAttemptAt === null ? '' : `; next try at ${standing.trouble.nextAttemptAt.toISOString()}`
    line(`  ${standing.trouble.waiting ? 'waits' : 'held up'}: ${standing.trouble.text}${next}`)
  }
  const attempts = standing.result?.attempts ?? (standing.progress?.lastAttempt ? [standing.progress.lastAttempt] : [])
  table(attempts.map((a) => [`  ${nameOfAttempt(a)}`, a.at, a.outcome, a.status, a.mailServer ?? '', a.reply]))
}

async function several(client: SoftbounceClient, recipient: string | undefined, limit: number, asJson: boolean): Promise<void> {
  const rows: string[][] = []
  let shown = 0
  const show = async (ids: string[]) => {
    const standings = await Promise.all(ids.map((id) => client.getById(id)))
    for (const standing of standings.filter((s) => s !== null)) {
      shown += 1
      if (asJson) json(standing)
      else
        rows.push([
          standing.workflowId,
          // the ID hides the recipient: the decrypted summary names it
          ...(isHidden(standing) ? [standing.summary ?? ''] : []),
          describeProgress(standing),
          (standing.result?.attempts.at(-1) ?? standing.progress?.lastAttempt)?.reply ?? '',
        ])
    }
  }
  let batch: string[] = []
  for await (const { workflowId } of client.list(recipient)) {
    if (batch.includes(workflowId)) continue
    batch.push(workflowId)
    if (shown + batch.length >= limit) break
    if (batch.length === AT_ONCE) await show(batch.splice(0))
  }
  await show(batch)
  batch = []
  if (asJson) return
  if (rows.length === 0) line(recipient === undefined ? 'nothing waits' : `there are no retries for ${recipient}`)
  else table(rows)
  if (shown >= limit) line(`(the first ${limit}; --limit shows more)`)
}

/** Whether its workflow ID hides the recipient. */
const isHidden = ({ workflowId }: RetryDescription) => /^bounce\/(@[^/]+\/)?hmac-/.test(workflowId)

const nameOf = (standing: RetryDescription) =>
  isHidden(standing) ? (standing.summary ?? standing.workflowId) : standing.workflowId.replace(/^bounce\//, '')
