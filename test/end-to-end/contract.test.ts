/** The public contract: started by name with plain JSON, by the Temporal CLI and the Python SDK; reset; cancelled in each state. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { findProgram, TEMPORAL_CLI } from '../../dev/dev-server/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { giveUp, progress } from '../../src/workflows/retry-bounced-message.js'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { pythonWith } from '../support/python.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { polite, type ReceivingSystem, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { bounced, eventually } from '../support/skipping-time.js'

const run = promisify(execFile)
const NOT_NOW = '421 4.3.2 System not accepting network messages'

const python = pythonWith('temporalio.client')
let world: RealWorld
let system: ReceivingSystem
const folder = temporaryFolder()
const closers: (() => Promise<void>)[] = []
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  await world.startWorker()
})
afterAll(async () => {
  for (const close of closers.splice(0)) await close()
  await world.close()
  await system.close()
  folder.remove()
})

const person = () => `p${randomUUID().slice(0, 8)}@example.org`
const plainJson = (recipient: string) =>
  JSON.stringify({ ...bounced(new Date(), { recipient }), schedule: ['1s', '1s'], somethingNew: true })

test('the Temporal CLI starts a retry with plain JSON', async () => {
  const cli = await findProgram(TEMPORAL_CLI, () => {})
  const first = system.connections.length + 1
  system.say = { banner: ({ connection }) => (connection === first ? NOT_NOW : undefined) }
  const recipient = person()
  const file = join(folder.path, 'input.json')
  writeFileSync(file, plainJson(recipient))
  const common = ['--address', inject('devServer'), '--namespace', world.namespace]
  const id = `bounce/${recipient}/m1@example.com`
  await run(cli, [
    'workflow',
    'start',
    ...common,
    '--task-queue',
    'softbounce',
    '--type',
    'retryBouncedMessage',
    '--workflow-id',
    id,
    '--input-file',
    file,
  ])
  const { stdout } = await run(cli, ['workflow', 'result', ...common, '--workflow-id', id, '--output', 'json'])
  expect(JSON.parse(stdout)).toMatchObject({ result: { outcome: 'delivered', confirmed: true } })
  const shown = await run(cli, ['workflow', 'query', ...common, '--workflow-id', id, '--type', 'progress', '--output', 'json'])
  expect(shown.stdout).toContain('delivered')
})

test.skipIf(python === null)(
  `the Python SDK starts a retry${python === null ? ' (skipped: no Python with temporalio)' : ''}`,
  { timeout: 60_000 },
  async () => {
    const recipient = person()
    const script = `
import asyncio, json, os, sys
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
async def main():
    client = await Client.connect(sys.argv[1], namespace=sys.argv[2])
    message = json.loads(sys.argv[3])
    handle = await client.start_workflow("retryBouncedMessage", message, task_queue="softbounce",
        id=f"bounce/{message['recipient']}/{message['messageId']}",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"4.3.2 for {message['recipient']}")
    while (await handle.query("progress"))["state"] != "waiting":
        await asyncio.sleep(0.1)
    await handle.signal("retryNow")
    print(json.dumps(await handle.result()), flush=True)
    # how that SDK takes itself down is not what is tested
    os._exit(0)
asyncio.run(main())`
    const { stdout } = await run(python as string, [
      '-c',
      script,
      inject('devServer'),
      world.namespace,
      JSON.stringify(bounced(new Date(), { recipient })),
    ]).catch((error: Error & { code?: number; signal?: string; stdout: string; stderr: string }) => {
      throw new Error(`Python ended with ${error.signal ?? error.code}: ${error.stdout} ${error.stderr}`)
    })
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
  },
)

test('after a reset, a retry that was sent is not sent again', async () => {
  const recipient = person()
  const sent = () => system.taken.filter((taken) => taken.to[0] === recipient).length
  const input = { ...bounced(new Date(), { recipient }), schedule: ['1s'] }
  const id = `bounce/${recipient}/m1@example.com`
  const handle = await world.temporal.workflow.start('retryBouncedMessage', { taskQueue: 'softbounce', workflowId: id, args: [input] })
  expect(await handle.result()).toMatchObject({ outcome: 'delivered' })
  expect(sent()).toBe(1)
  const events = (await handle.fetchHistory()).events ?? []
  for (const point of [0, 1]) {
    // reset to the first completed workflow task repeats prepare; to the second, the send
    const completed = events.filter((event) => event.workflowTaskCompletedEventAttributes != null)[point]
    const { runId } = await world.temporal.workflowService.resetWorkflowExecution({
      namespace: world.namespace,
      workflowExecution: { workflowId: id, runId: handle.firstExecutionRunId },
      reason: 'a test',
      requestId: randomUUID(),
      workflowTaskFinishEventId: completed?.eventId ?? null,
    })
    expect(await world.temporal.workflow.getHandle(id, runId).result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
  }
  expect(sent()).toBe(1)
})

describe.concurrent('a retry cancelled in any state ends as Cancelled, sends nothing more and suppresses nobody', () => {
  /** A separate world for each test, since the receiving systems differ. */
  async function cancelling(env: Record<string, string>, schedule: string[]) {
    const own = await startRealWorld(env)
    closers.push(own.close)
    await own.startWorker()
    const recipient = person()
    const input = { ...bounced(new Date(), { recipient }), schedule }
    const handle = await own.temporal.workflow.start('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: `bounce/${recipient}/m1@example.com`,
      args: [input],
    })
    const ends = async () => {
      await expect(handle.result()).rejects.toThrow(/cancel/i)
      expect((await handle.describe()).status.name).toBe('CANCELLED')
      expect(await findSuppression(own.database.db, recipient, new Date())).toBeNull()
      const end = await own.database.db.selectFrom('outcomes').select('outcome').where('recipient', '=', recipient).executeTakeFirst()
      expect(end?.outcome).toBe('cancelled')
    }
    const stands = (state: string) => eventually(async () => (await handle.query<{ state: string }>('progress')).state === state, 30_000)
    return { handle, ends, stands, own }
  }
  const script = async (...args: Parameters<typeof startScript>) => {
    const started = await startScript(...args)
    closers.push(started.close)
    return started
  }

  test('cancelled while waiting', { timeout: 60_000 }, async () => {
    const { handle, ends, stands } = await cancelling({ SOFTBOUNCE_ROUTES: yamlRoutes('*=127.0.0.1:9') }, ['1h'])
    await stands('waiting')
    await handle.cancel()
    await ends()
  })

  test('cancelled while sending, before the content', { timeout: 60_000 }, async () => {
    const quiet = await script((line) => (line.startsWith('MAIL') ? undefined : polite(line)))
    const { handle, ends } = await cancelling({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${quiet.port}`) }, ['1s', '1s'])
    await eventually(() => quiet.heard.some((line) => line.startsWith('MAIL')))
    const asked = Date.now()
    await handle.cancel()
    await ends()
    expect(Date.now() - asked).toBeLessThan(15_000)
    expect(quiet.heard).not.toContain('DATA')
    expect(quiet.connections).toBe(1)
  })

  test('cancelled after the final dot: the reply is awaited and logged', { timeout: 60_000 }, async () => {
    const late = await script((line, socket) => {
      if (line !== '.') return polite(line)
      setTimeout(() => socket.write(`${NOT_NOW.replace('421', '451')}\r\n`), 8000)
      return undefined
    })
    const { handle, ends, own } = await cancelling(
      { SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${late.port}`), SOFTBOUNCE_SMTP_TIMEOUTS_FINAL_DOT: '20s' },
      ['1s', '1s'],
    )
    await eventually(() => late.heard.includes('.'))
    await handle.cancel()
    await ends()
    expect(await own.database.db.selectFrom('attempts').select(['outcome', 'status']).execute()).toEqual([
      { outcome: 'deferred', status: '4.3.2' },
    ])
    expect(late.connections).toBe(1)
  })

  test('cancelled during a local failure', { timeout: 60_000 }, async () => {
    const { handle, ends, own } = await cancelling({ SOFTBOUNCE_ROUTES: yamlRoutes('other.example=127.0.0.1:9') }, ['1s'])
    const trouble = await eventually(async () => (await own.client.getById(handle.workflowId))?.trouble)
    expect(trouble.text).toContain('no way to example.org')
    const asked = Date.now()
    await handle.cancel()
    await ends()
    expect(Date.now() - asked).toBeLessThan(5000)
  })

  test('cancelled while waiting for confirmation from the relay', { timeout: 60_000 }, async () => {
    const relay = await startReceivingSystem()
    closers.push(relay.close)
    const { handle, ends, stands } = await cancelling(
      { SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relay.port}`, SOFTBOUNCE_RELAY_TLS: 'off' },
      ['1s'],
    )
    await stands('confirming')
    await handle.cancel()
    await ends()
    expect(relay.taken).toHaveLength(1)
  })
})

test('giving up suppresses even if the awaited reply is lost', { timeout: 60_000 }, async () => {
  const lost = await startScript((line, socket) => {
    if (line !== '.') return polite(line)
    setTimeout(() => socket.destroy(), 8000)
    return undefined
  })
  const own = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${lost.port}`), SOFTBOUNCE_SMTP_TIMEOUTS_FINAL_DOT: '20s' })
  closers.push(lost.close, own.close)
  await own.startWorker()
  const recipient = person()
  const handle = await own.temporal.workflow.start('retryBouncedMessage', {
    taskQueue: 'softbounce',
    workflowId: `bounce/${recipient}/m1@example.com`,
    args: [{ ...bounced(new Date(), { recipient }), schedule: ['1s', '1s'] }],
  })
  await eventually(() => lost.heard.includes('.'))
  await handle.signal(giveUp)
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed' })
})

test('a retry cancelled before any worker ran stays cancelled for a later bounce', { timeout: 60_000 }, async () => {
  const own = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  closers.push(own.close)
  const recipient = person()
  const options = { taskQueue: 'softbounce', workflowId: `bounce/${recipient}/m1@example.com`, args: [bounced(new Date(), { recipient })] }
  const handle = await own.temporal.workflow.start('retryBouncedMessage', options)
  await handle.cancel()
  await own.startWorker()
  await expect(handle.result()).rejects.toThrow(/cancel/i)
  await expect(own.temporal.workflow.execute('retryBouncedMessage', options)).rejects.toMatchObject({
    cause: { type: 'InvalidBouncedMessage' },
  })
})

test('a suppression that has begun finishes, and its result stands', { timeout: 60_000 }, async () => {
  const recipient = person()
  const input = { ...bounced(new Date(), { recipient }), schedule: ['1h'] }
  const handle = await world.temporal.workflow.start('retryBouncedMessage', {
    taskQueue: 'softbounce',
    workflowId: `bounce/${recipient}/m1@example.com`,
    args: [input],
  })
  await eventually(async () => (await handle.query(progress)).state === 'waiting')
  // the write lock delays the suppression
  let release: () => void = () => {}
  const lock = world.database.db.transaction().execute(
    () =>
      new Promise<void>((resolve) => {
        release = resolve
      }),
  )
  await handle.signal(giveUp)
  await eventually(async () => {
    const { raw } = await handle.describe()
    return (raw.pendingActivities ?? []).some((activity) => activity.activityType?.name === 'suppressAddress')
  })
  await handle.cancel()
  release()
  await lock
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed' })
})
