/** `status --watch`: the current status, redrawn every 2 seconds until Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DestinationInfo, RetryDescription, SoftbounceClient } from '../client/index.js'
import { CommandFailed, printable } from './output.js'

const EVERY_MS = 2000
const MOST_SYSTEMS = 8
const CLEAR = '\u001b[H\u001b[J'
const [SHOW_OTHER, SHOW_FIRST] = ['\u001b[?1049h\u001b[?25l', '\u001b[?25h\u001b[?1049l']

/** Describes a message: its recipient (`whose`) and its status (`where`). */
export type StatusFormatter = (standing: RetryDescription) => { readonly whose: string; readonly where: string }

/** @throws CommandFailed if there is no terminal. */
export async function watch(client: SoftbounceClient, recipient: string | undefined, format: StatusFormatter): Promise<void> {
  const { stdout } = process
  if (!stdout.isTTY) throw new CommandFailed('--watch draws on a terminal, and this is none; leave it out', 2)
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort())
  stdout.write(SHOW_OTHER)
  try {
    while (!ended.signal.aborted) {
      const text = await screen(client, recipient, format, stdout.columns, stdout.rows).catch((error: Error) =>
        printable(`${clock()}  the status is not available now: ${error.message}`),
      )
      stdout.write(`${CLEAR}${text}`)
      await sleep(EVERY_MS, undefined, { signal: ended.signal }).catch(() => {})
    }
  } finally {
    stdout.write(SHOW_FIRST)
  }
}

const clock = () => new Date().toISOString().slice(0, 19).replace('T', ' ')

async function screen(
  client: SoftbounceClient,
  recipient: string | undefined,
  format: StatusFormatter,
  width: number,
  height: number,
): Promise<string> {
  const cut = (text: string) => {
    const characters = [...printable(text)]
    return characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : characters.join('')
  }
  const everything = await client.destinations.pausedAltogether()
  const systems = (await client.destinations.list(200)).filter(
    (one) => one.downSince !== null || one.pausedSince !== null || one.failures > 0 || one.waitingForPermit > 0,
  )
  const waiting = systems.reduce((sum, { waitingForPermit }) => sum + waitingForPermit, 0)
  const down = systems.filter(({ downSince }) => downSince !== null).length
  const lines = [
    `softbounce  ${clock()} UTC   ${waiting} wait for a permit   ${down} ${down === 1 ? 'system is' : 'systems are'} down   (Ctrl-C ends)`,
    ...(everything === null ? [] : [`everything is paused since ${everything.since.toISOString()} by ${everything.by}`]),
    '',
    ...systems.slice(0, MOST_SYSTEMS).map(systemLine),
    ...(systems.length > MOST_SYSTEMS ? [`  and ${systems.length - MOST_SYSTEMS} more: softbounce destinations`] : []),
    ...(systems.length > 0 ? [''] : []),
  ]
  const room = Math.max(1, height - lines.length - 1)
  const ids: string[] = []
  let more = false
  const executions = recipient?.startsWith('bounce/') ? [{ workflowId: recipient }] : client.list(recipient)
  for await (const { workflowId } of executions) {
    if (ids.length === room) {
      more = true
      break
    }
    if (!ids.includes(workflowId)) ids.push(workflowId)
  }
  const standings = (await Promise.all(ids.map((id) => client.getById(id)))).filter((one) => one !== null)
  // if both do not fit, cut the name, not the status
  const messages = standings.map((one) => {
    const { whose, where } = format(one)
    const most = Math.max(20, width - where.length - 2)
    return `${whose.length > most ? `${whose.slice(0, most - 1)}…` : whose}  ${where}`
  })
  if (messages.length === 0) messages.push('nothing waits')
  return [...lines, ...messages, ...(more ? ['…'] : [])]
    .slice(0, height - 1)
    .map(cut)
    .join('\n')
}

function systemLine({ name, downSince, pausedSince, pausedBy, failures, waitingForPermit, said }: DestinationInfo): string {
  const iso = (ms: number) => new Date(ms).toISOString().slice(0, 19)
  const state =
    pausedSince !== null
      ? `paused since ${iso(pausedSince)} by ${pausedBy ?? 'an operator'}`
      : downSince !== null
        ? `down since ${iso(downSince)}`
        : failures > 0
          ? `${failures} failures in a row`
          : 'accepts mail'
  return `${name}: ${state}, ${waitingForPermit} wait for a permit${said === null ? '' : `; said: ${said.reply}`}`
}
