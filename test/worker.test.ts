/** The worker process, the purge, and softbounce in an existing worker. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NativeConnection, Worker } from '@temporalio/worker'
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { freePort } from '../dev/dev-server/index.js'
import { track } from '../src/client/index.js'
import { softbouncePlugin } from '../src/plugin.js'
import { loadMessage, messageKey, storeMessage } from '../src/store/index.js'
import { SearchAttributes } from '../src/temporal/index.js'
import { yamlRoutes } from './support/config.js'
import { type RealWorld, startRealWorld } from './support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from './support/receiving-system.js'
import { bounced, DAY, eventually, MESSAGE, quietRuntime } from './support/skipping-time.js'

let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
})
afterAll(() => system.close())

async function inWorld(env: Record<string, string>, use: (world: RealWorld) => Promise<void>): Promise<void> {
  const world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), ...env })
  try {
    await use(world)
  } finally {
    await world.close()
  }
}

test('the worker reports health, logs workflow IDs, and logs no message content', async () => {
  const port = await freePort()
  await inWorld({ SOFTBOUNCE_HTTP_PORT: String(port), SOFTBOUNCE_LOG_LEVEL: 'debug' }, async (world) => {
    const worker = await world.startWorker()
    const health = await fetch(`http://127.0.0.1:${port}/healthz`)
    expect(health.status).toBe(200)
    expect(await health.json()).toEqual({ healthy: true, worker: 'RUNNING', database: 'ok' })
    expect((await fetch(`http://127.0.0.1:${port}/other`)).status).toBe(404)
    const input = { ...bounced(new Date(), { recipient: 'log@example.org' }), schedule: ['1s'] }
    const id = 'bounce/log@example.org/m1@example.com'
    await world.temporal.workflow.execute('retryBouncedMessage', { taskQueue: 'softbounce', workflowId: id, args: [input] })
    await worker.stop()
    const lines = worker
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.some((line) => line.workflowId === id)).toBe(true)
    expect(worker.log()).not.toContain('a line that begins with a dot')
  })
})

test('a schedule purges stored messages, but not while a workflow needs them', { timeout: 60_000 }, async () => {
  await inWorld({ SOFTBOUNCE_STORE_MESSAGE_RETENTION: '1h' }, async (world) => {
    await world.startWorker()
    const old = new Date(Date.now() - 3 * DAY)
    const { db } = world.database
    const unused = await storeMessage(db, Buffer.from('From: a@b\r\n\r\nunused'), old)
    const started = async (recipient: string) => {
      const input = { ...bounced(new Date(), { recipient, message: { raw: `${MESSAGE}${recipient}` } }), schedule: ['30d'] }
      const handle = await world.temporal.workflow.start('retryBouncedMessage', {
        taskQueue: 'softbounce',
        workflowId: `bounce/${recipient}/m1@example.com`,
        args: [input],
      })
      const key = messageKey(Buffer.from(`${MESSAGE}${recipient}`))
      await eventually(async () => (await db.selectFrom('message_holds').selectAll().where('message_key', '=', key).execute()).length === 1)
      await db.updateTable('messages').set({ used_at: old.getTime() }).where('key', '=', key).execute()
      return { handle, key }
    }
    const open = await started('open@example.org')
    const terminated = await started('terminated@example.org')
    await terminated.handle.terminate('a test')
    await world.temporal.schedule.getHandle('softbounce-purge').trigger()
    await eventually(async () => (await loadMessage(db, unused)) === null && (await loadMessage(db, terminated.key)) === null, 30_000)
    expect(await loadMessage(db, open.key)).not.toBeNull()
    await open.handle.cancel()
  })
})

test('workflows run without search attributes if these exist with another type', { timeout: 60_000 }, async () => {
  await inWorld({}, async (world) => {
    await world.temporal.connection.operatorService.addSearchAttributes({
      namespace: world.namespace,
      searchAttributes: { BounceStatus: 3 },
    })
    const worker = await world.startWorker()
    expect(worker.log()).toContain('exist under another type')
    const input = { ...bounced(new Date(), { recipient: 'typed@example.org' }), schedule: ['1s'] }
    const result = await world.temporal.workflow.execute('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: 'bounce/typed@example.org/m1@example.com',
      args: [input],
    })
    expect(result).toMatchObject({ outcome: 'delivered' })
  })
})

test('where no Keyword attribute is left, worker and doctor say how to free some; then they are registered', {
  timeout: 60_000,
}, async () => {
  quietRuntime()
  await inWorld({}, async (world) => {
    const { operatorService } = world.temporal.connection
    const { namespace } = world
    const others = Array.from({ length: 8 }, (_, i) => `Other${i}`)
    await operatorService.addSearchAttributes({ namespace, searchAttributes: Object.fromEntries(others.map((name) => [name, 2])) })
    const worker = await world.startWorker()
    expect(worker.log()).toContain('search attributes are missing: BounceRecipient, BounceDestination, BounceStatus, BounceOutcome')
    expect(worker.log()).toContain("The namespace has 8 attributes of type Keyword, and Temporal's SQL visibility allows 10")
    expect(worker.log()).toMatch(/"action":"free 2: temporal operator search-attribute list shows them/)
    const { stdout } = await world.cli('doctor')
    expect(stdout).toContain('free 2: temporal operator search-attribute list')
    const input = { ...bounced(new Date(), { recipient: 'few@example.org' }), schedule: ['1s'] }
    const order = { taskQueue: 'softbounce', workflowId: 'bounce/few@example.org/m1@example.com', args: [input] }
    expect(await world.temporal.workflow.execute('retryBouncedMessage', order)).toMatchObject({ outcome: 'delivered' })

    const lines: string[] = []
    const note = (_: object, text: string) => void lines.push(text)
    const connection = await NativeConnection.connect({ address: inject('devServer') })
    const attributes = new SearchAttributes(connection, namespace, { info: note, warn: note }, 200)
    await attributes.register()
    await operatorService.removeSearchAttributes({ namespace, searchAttributes: ['Other0', 'Other1'] })
    await eventually(() => lines.includes('search attributes were registered') && attributes.known, 30_000)
    attributes.stop()
    await connection.close()
  })
})

test('softbounce runs in an existing worker next to other workflows', { timeout: 60_000 }, async () => {
  quietRuntime()
  await inWorld({}, async (world) => {
    const connection = await NativeConnection.connect({ address: inject('devServer') })
    const config = {
      database: { url: world.env.SOFTBOUNCE_DATABASE_URL as string },
      routes: [{ destination: '*', host: '127.0.0.1', port: system.port }],
      log: { level: 'error' as const },
    }
    const workflows = fileURLToPath(new URL('../dist/teams-workflows.js', import.meta.url))
    writeFileSync(workflows, "export * from './workflows/index.js'\nexport async function theirs() { return 'theirs' }\n")
    const worker = await Worker.create({
      connection,
      namespace: world.namespace,
      taskQueue: 'softbounce',
      workflowsPath: join(workflows),
      plugins: [await softbouncePlugin({ connection, namespace: world.namespace, ...config })],
    })
    await worker.runUntil(async () => {
      expect(await world.temporal.workflow.execute('theirs', { taskQueue: 'softbounce', workflowId: 'theirs' })).toBe('theirs')
      const input = { ...bounced(new Date(), { recipient: 'team@example.org' }), schedule: ['1s'] }
      const id = 'bounce/team@example.org/m1@example.com'
      expect(
        await world.temporal.workflow.execute('retryBouncedMessage', { taskQueue: 'softbounce', workflowId: id, args: [input] }),
      ).toMatchObject({ outcome: 'delivered' })
      // a refused sendMail of the team's application is picked up by the team's own worker
      system.say = { rcpt: () => '421 4.3.2 System not accepting network messages' }
      const transporter = track(nodemailer.createTransport({ host: '127.0.0.1', port: system.port, ignoreTLS: true }), {
        ...{ database: config.database, returnPath: { keys: [Buffer.alloc(32, 7).toString('base64')], address: 'b+{token}@{domain}' } },
      })
      const info = await transporter.sendMail({ from: 'shop@example.com', to: 'app@example.org', subject: 'Hello', text: 'Thank you.' })
      await eventually(() => world.client.isOpen({ workflowId: info.retries?.[0]?.workflowId as string }), 20_000)
      system.say = {}
    })
    await connection.close()
  })
})
