/** The demo's first scene: an application's own `sendMail` is refused with 4.3.2, and becomes a retry. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '@temporalio/client'
import nodemailer from 'nodemailer'
import { type StartedRetry, track } from '../../dist/client/index.js'
import { bold, dim, print, soft } from './timeline.js'

const STARTED_WITHIN_MS = 20_000

export interface RefusedSend {
  readonly recipient: string
  readonly retry: StartedRetry
}

/** Sends by nodemailer to a system that refuses, and waits until the worker has started the retry. */
export async function refusedSend(
  recipient: string,
  port: number,
  returnPathKey: string,
  databaseUrl: string,
  temporal: Client,
  schedule: string[],
): Promise<RefusedSend> {
  print(dim('  const transporter = track(nodemailer.createTransport(...))'))
  print(dim(`  const info = await transporter.sendMail({ to: '${recipient}', ... })`))
  const transporter = track(nodemailer.createTransport({ host: '127.0.0.1', port, ignoreTLS: true }), {
    ...{ database: { url: databaseUrl }, returnPath: { keys: [returnPathKey] } },
  })
  const info = await transporter.sendMail({
    ...{ from: 'shop@example.com', to: recipient, subject: 'Your invoice 4714', text: 'Thank you for your order.' },
    softbounce: { schedule },
  })
  transporter.close()
  const [retried] = info.retries ?? []
  if (retried === undefined) throw new Error(`sendMail to ${recipient} was not refused`)
  print(`  ${soft(String(info.response))}`)
  print(`  it resolved all the same: ${bold(`info.pending = ['${recipient}']`)}, retried at ${retried.retryAt}`)
  return { recipient, retry: await started(temporal, retried.workflowId) }
}

async function started(temporal: Client, workflowId: string): Promise<StartedRetry> {
  const handle = temporal.workflow.getHandle(workflowId)
  for (const until = Date.now() + STARTED_WITHIN_MS; ; ) {
    try {
      const { runId } = await handle.describe()
      return { workflowId, runId, result: () => handle.result() as ReturnType<StartedRetry['result']> }
    } catch (error) {
      if (Date.now() > until) throw error
      await sleep(100)
    }
  }
}
