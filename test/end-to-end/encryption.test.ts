/** Encrypted payloads: Temporal stores nothing readable, commands and the Web UI still show everything, and keys rotate. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { WorkflowFailedError } from '@temporalio/client'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DevServer, freePort, startDevServer } from '../../dev/dev-server/index.js'
import { SoftbounceClient } from '../../src/client/index.js'
import { yamlKeys, yamlRoutes } from '../support/config.js'
import { programPath, whyNot } from '../support/programs.js'
import { pythonWith } from '../support/python.js'
import { encrypted, type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const key = (id: string) => `${id}:${randomBytes(32).toString('base64')}`
const [k1, k2] = [key('k1'), key('k2')]
const PERSON = 'planted-ann'
const RECIPIENT = `${PERSON}@private.example`
const message = (n: number) =>
  Buffer.from(
    `From: shop@example.com\r\nTo: ${RECIPIENT}\r\nSubject: planted-subject\r\nMessage-ID: <planted-id-${n}@example.com>\r\n\r\nplanted-body\r\n`,
  )
/** None of these may be readable in what Temporal stores. */
const SECRETS = [PERSON, 'planted-id', 'planted-subject', 'planted-body', 'planted-reply', 'planted-sender']

let server: DevServer
let world: RealWorld
let system: ReceivingSystem
let worker: WorkerProcess
let codecPort: number
let n = 0

const bounce = (more: object = {}) => ({
  sender: 'planted-sender@example.com',
  recipient: RECIPIENT,
  status: '4.3.2',
  bouncedAt: new Date().toISOString(),
  diagnostic: `421 4.3.2 planted-reply for ${RECIPIENT}`,
  ...more,
})
const retry = (schedule: string[], client = world.client, more: object = {}) => {
  n += 1
  return client.retry(message(n), bounce(), { schedule, ...more })
}
const withKeys = (keys: string) => SoftbounceClient.open(encrypted(yamlKeys(keys)), { temporal: world.temporal, database: world.database })

/** Everything that Temporal stores for the namespace, as one text of raw bytes. */
async function everything(): Promise<string> {
  const { workflowService } = world.temporal
  const { namespace } = world
  const texts: string[] = []
  const say = (value: unknown) => {
    const text = JSON.stringify(value)
    const bytes = [...text.matchAll(/"([A-Za-z0-9+/]{4,}={0,2})"/g)].map(([, base64]) =>
      Buffer.from(base64 as string, 'base64').toString('latin1'),
    )
    texts.push(text, ...bytes)
  }
  for await (const { workflowId, runId } of world.temporal.workflow.list()) {
    const execution = { workflowId, runId }
    say((await workflowService.getWorkflowExecutionHistory({ namespace, execution })).history)
    say(await workflowService.describeWorkflowExecution({ namespace, execution }))
  }
  return texts.join('\n')
}

beforeAll(async () => {
  codecPort = await freePort()
  server = await startDevServer({ webUi: true, codecServer: `http://127.0.0.1:${codecPort}` })
  system = await startReceivingSystem()
  world = await startRealWorld(
    {
      SOFTBOUNCE_ROUTES: yamlRoutes(`private.example=127.0.0.1:${system.port}`),
      SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${await freePort()}`,
      SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(k1),
    },
    undefined,
    server.address,
  )
  worker = await world.startWorker()
}, 120_000)
afterAll(async () => {
  await world?.close()
  await system?.close()
  await server?.stop()
})

// the tests depend on each other, in this order: keys rotate
describe('encrypted payloads', { shuffle: false }, () => {
  test('Temporal stores nothing readable about delivered, waiting, suppressed, refused and cancelled retries', {
    timeout: 120_000,
  }, async () => {
    system.say = { rcpt: () => `450 4.3.2 planted-reply for ${RECIPIENT}` }
    const deferred = await retry(['1s', '30d'])
    await eventually(async () => (await world.client.getById(deferred.workflowId))?.progress?.lastAttempt, 30_000)
    const suppressed = await retry(['1s'])
    expect(await suppressed.result()).toMatchObject({
      outcome: 'suppressed',
      attempts: [{ reply: expect.stringContaining('planted-reply') }],
    })
    await world.client.unsuppress(RECIPIENT, 'the test')
    // a local failure, whose text is visible while it lasts
    const held = await world.client.retry(message(99), bounce({ recipient: `${PERSON}@relayed.example` }), { schedule: ['1s'] })
    const trouble = await eventually(async () => (await world.client.getById(held.workflowId))?.trouble, 30_000)
    expect(trouble?.text).toMatch(/refused the connection/)
    await world.client.cancel(held)
    await expect(held.result()).rejects.toThrow(WorkflowFailedError)
    // input that our client would never send
    const wrong = await world.temporal.workflow.start('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: world.client.workflowId(RECIPIENT, 'other@example.com'),
      args: [],
    })
    await expect(wrong.result()).rejects.toThrow()
    const under = await world.client
      .retry(message(98), bounce({ status: '2.0.0', diagnostic: '250 planted-reply' }))
      .then((one) => one.result())
      .catch((error: Error) => error)
    expect(under).toBeInstanceOf(Error)
    system.say = {}
    await world.client.retryNow(deferred)
    expect(await deferred.result()).toMatchObject({ outcome: 'delivered', retries: 2 })
    const waiting = await retry(['30d'])
    await eventually(async () => (await world.client.getById(waiting.workflowId))?.progress?.state === 'waiting', 30_000)
    const kept = await everything()
    expect(kept.length).toBeGreaterThan(20_000)
    for (const secret of SECRETS) expect(kept.includes(secret), secret).toBe(false)
    // proves that the right data was searched
    for (const there of [deferred.workflowId, 'binary/encrypted', 'Encoded failure']) expect(kept.includes(there), there).toBe(true)
    const { searchAttributes } = await world.temporal.workflow.getHandle(waiting.workflowId).describe()
    expect(searchAttributes.BounceRecipient).toEqual([waiting.workflowId.split('/')[1]])
    expect(searchAttributes.BounceDestination).toEqual(['private.example'])
  })

  test('the commands find, control and erase the retries of a recipient', { timeout: 120_000 }, async () => {
    const waiting = await retry(['30d'])
    await eventually(async () => (await world.client.getById(waiting.workflowId))?.progress?.state === 'waiting', 30_000)
    await eventually(async () => (await world.temporal.workflow.count(`WorkflowId = '${waiting.workflowId}'`)).count === 1, 30_000)
    const listed = await world.cli('status', RECIPIENT)
    expect(listed.stdout).toContain(waiting.workflowId)
    const shown = await world.cli('status', waiting.workflowId)
    expect(shown.stdout).toContain(`4.3.2 for ${RECIPIENT}`)
    expect(await world.cli('now', waiting.workflowId)).toMatchObject({ status: 0 })
    expect(await waiting.result()).toMatchObject({ outcome: 'delivered' })
    const open = await retry(['30d'])
    await eventually(async () => (await world.temporal.workflow.count(`WorkflowId = '${open.workflowId}'`)).count === 1, 30_000)
    const forgotten = await world.cli('forget', RECIPIENT, '--yes')
    expect(forgotten, forgotten.stderr).toMatchObject({ status: 0 })
    await expect(open.result()).rejects.toThrow()
    await eventually(
      async () => (await world.temporal.workflow.count(`WorkflowId STARTS_WITH '${open.workflowId.split('/hmac-')[0]}/hmac-'`)).count >= 0,
    )
    expect((await world.cli('history', RECIPIENT)).stdout).not.toMatch(/retry 1/)
  })

  test('a worker without the key leaves everything waiting, and logs which key is missing', { timeout: 120_000 }, async () => {
    await worker.stop()
    const without = await world.startWorker({ SOFTBOUNCE_ENCRYPTION_KEYS: '' })
    const started = await retry(['1s'])
    await eventually(() => /key \\"k1\\", which is not among encryption.keys/.test(without.log()), 30_000)
    expect(await world.client.isOpen(started)).toBe(true)
    await without.stop()
    worker = await world.startWorker()
    expect(await started.result()).toMatchObject({ outcome: 'delivered' })
  })

  test('each message keeps its workflow ID when keys rotate', { timeout: 120_000 }, async () => {
    const old = await retry(['30d'])
    await eventually(async () => (await world.client.getById(old.workflowId))?.progress?.state === 'waiting', 30_000)
    await worker.stop()
    worker = await world.startWorker({ SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`${k2},${k1}`) })
    const rotated = await withKeys(`${k2},${k1}`)
    const again = await rotated.retry(message(n), bounce())
    expect(again.workflowId).toBe(old.workflowId)
    expect(await rotated.get(RECIPIENT, `planted-id-${n}@example.com`)).toMatchObject({ workflowId: old.workflowId, status: 'RUNNING' })
    await rotated.retryNow({ recipient: RECIPIENT, messageId: `planted-id-${n}@example.com` })
    expect(await again.result()).toMatchObject({ outcome: 'delivered' })
    expect(await (await retry(['1s'], rotated)).result()).toMatchObject({ outcome: 'delivered' })
  })

  const python = pythonWith('temporalio.client', 'cryptography')

  test.skipIf(python === null)('a team’s own channel in Python decrypts the events with the same keys', { timeout: 120_000 }, async () => {
    const child = spawn(python as string, [fileURLToPath(new URL('../../examples/notify_alternative.py', import.meta.url)), 'sms'], {
      env: {
        ...process.env,
        TEMPORAL_ADDRESS: server.address,
        TEMPORAL_NAMESPACE: world.namespace,
        SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`${k2},${k1}`),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    child.stdout.on('data', (chunk) => {
      printed += chunk
    })
    try {
      await worker.stop()
      worker = await world.startWorker({ SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`${k2},${k1}`), SOFTBOUNCE_EVENTS_TASK_QUEUE: 'sms' })
      await retry(['30d'], await withKeys(`${k2},${k1}`), { urgent: true })
      await eventually(() => printed.includes('\n'), 60_000)
      expect(JSON.parse(printed.split('\n')[0] as string)).toMatchObject({ type: 'bounce.retrying', data: { recipient: RECIPIENT } })
    } finally {
      child.kill()
    }
  })

  const reason = whyNot(['chromium'], false)

  describe('the codec server', () => {
    const ask = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${codecPort}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })

    test('the codec server encrypts and decrypts for authorized callers', { timeout: 60_000 }, async () => {
      const codec = await world.startCodecServer(['--listen', `127.0.0.1:${codecPort}`, '--origin', server.webUi as string])
      const base64 = (text: string) => Buffer.from(text).toString('base64')
      const said = { payloads: [{ metadata: { encoding: base64('json/plain') }, data: base64('"ann"') }] }
      const encoded = (await (await ask('/encode', said)).json()) as typeof said
      expect(encoded.payloads[0]?.metadata.encoding).toBe(base64('binary/encrypted'))
      const unknown = { metadata: { encoding: base64('binary/encrypted'), 'encryption-key-id': base64('k9') }, data: base64('?') }
      const decoded = await ask('/decode', { payloads: [...encoded.payloads, unknown] }, { origin: server.webUi as string })
      expect(decoded.headers.get('access-control-allow-origin')).toBe(server.webUi)
      expect(await decoded.json()).toEqual({ payloads: [...said.payloads, unknown] })
      // a foreign page that found the address
      const evil = await ask('/decode', encoded, { origin: 'http://evil.example' })
      expect(evil.status).toBe(403)
      expect(evil.headers.get('access-control-allow-origin')).toBeNull()
      expect((await ask('/decode', 'not json')).status).toBe(400)
      // Temporal's CLI omits an empty list
      expect(await (await ask('/encode', {})).json()).toEqual({ payloads: [] })
      expect((await ask('/decode', { payloads: [{ data: '***' }] })).status).toBe(400)
      expect((await ask('/elsewhere', said)).status).toBe(404)
      expect((await ask('/decode', 'x'.repeat(17 * 1024 * 1024)).catch(() => ({ status: 413 }))).status).toBe(413)
      await codec.stop()
      const guarded = await world.startCodecServer(['--listen', `127.0.0.1:${codecPort}`], {
        SOFTBOUNCE_ENCRYPTION_CODEC_TOKEN: 'planted-token-0123456789',
      })
      expect((await ask('/decode', encoded)).status).toBe(401)
      expect((await ask('/wrong-token-01234567890123/decode', encoded)).status).toBe(401)
      expect((await ask('/planted-token-0123456789/decode', encoded)).status).toBe(200)
      expect(guarded.log()).not.toContain('planted-token')
      await guarded.stop()
    })

    test.skipIf(reason !== null)(
      `the Web UI shows what it decrypts${reason === null ? '' : ` (${reason})`}`,
      { timeout: 120_000 },
      async () => {
        const codec = await world.startCodecServer(['--listen', `127.0.0.1:${codecPort}`, '--origin', server.webUi as string], {
          SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`${k2},${k1}`),
        })
        const waiting = await retry(['30d'], await withKeys(`${k2},${k1}`))
        await eventually(
          async () => (await (await withKeys(`${k2},${k1}`)).getById(waiting.workflowId))?.progress?.state === 'waiting',
          30_000,
        )
        let browser: Browser | undefined
        try {
          browser = await chromium.launch({ executablePath: programPath('chromium') as string, args: ['--no-sandbox', '--disable-gpu'] })
          const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
          await page.goto(
            `${server.webUi}/namespaces/${world.namespace}/workflows/${encodeURIComponent(waiting.workflowId)}/${waiting.runId}/user-metadata`,
          )
          await eventually(async () => {
            for (const frame of page.frames())
              if (
                (await frame
                  .getByText(`To ${RECIPIENT} at private.example`)
                  .count()
                  .catch(() => 0)) > 0
              )
                return true
            return false
          }, 60_000)
          await page.screenshot({ path: `${process.env.SCREENSHOTS ?? 'screenshots'}/encrypted.png` })
        } finally {
          await browser?.close()
          await codec.stop()
        }
      },
    )
  })
})
