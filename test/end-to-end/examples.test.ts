/** The examples in JavaScript, run as their readers would: an application, and a team's worker with the plugin. */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { pythonWith } from '../support/python.js'
import { startRealWorld } from '../support/real-time.js'
import { startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'

test('an application’s refused mail is delivered by the worker beside a team’s own', { timeout: 120_000 }, async () => {
  const system = await startReceivingSystem()
  const world = await startRealWorld({
    SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`),
    SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 5).toString('base64'),
    SOFTBOUNCE_RETRY_SCHEDULE: '2s, 1h',
  })
  const started: ChildProcess[] = []
  const run = (name: string, ...args: string[]) => {
    const script = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url))
    const child = spawn(process.execPath, [script, ...args], { env: world.env, stdio: ['ignore', 'pipe', 'pipe'] })
    started.push(child)
    let printed = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        printed += chunk
      })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    return { printed: () => printed, ended, stop: () => child.kill('SIGTERM') }
  }
  try {
    const worker = run('plugin-worker.mjs')
    await eventually(() => worker.printed().includes('the worker is ready'))
    system.say = { rcpt: () => NOT_NOW }
    const app = run('nodemailer-app.mjs', `smtp://127.0.0.1:${system.port}?ignoreTLS=true`, 'ann@example.org')
    expect(await app.ended).toBe(0)
    const workflowId = /ann@example\.org is retried at \S+ by (\S+)/.exec(app.printed())?.[1] as string
    expect(workflowId, app.printed()).toMatch(/^bounce\/ann@example\.org\//)
    system.say = {}
    await eventually(() => world.client.isOpen({ workflowId }), 30_000)
    expect(await world.temporal.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    await world.client.suppress('ben@example.org', 'test')
    const suppressed = run('nodemailer-app.mjs', `smtp://127.0.0.1:${system.port}?ignoreTLS=true`, 'ben@example.org')
    expect(await suppressed.ended).toBe(0)
    expect(suppressed.printed()).toContain('ben@example.org is suppressed')
    worker.stop()
    expect(await worker.ended).toBe(0)
  } finally {
    for (const child of started) child.kill('SIGKILL')
    await world.close()
    await system.close()
  }
})

const python = pythonWith('temporalio.client')

test.skipIf(python === null)('a retry is started from Python by the public contract', { timeout: 120_000 }, async () => {
  const system = await startReceivingSystem()
  const world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_RETRY_SCHEDULE: '1s' })
  const folder = temporaryFolder()
  try {
    const file = join(folder.path, 'message.eml')
    writeFileSync(file, 'From: shop@example.com\r\nTo: ann@example.org\r\nMessage-ID: <py@example.com>\r\n\r\nhello\r\n')
    await world.startWorker()
    const script = fileURLToPath(new URL('../../examples/start_retry.py', import.meta.url))
    const child = spawn(python as string, [script, file, 'ann@example.org', 'bounces@example.com'], {
      env: world.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    child.stdout.on('data', (chunk) => {
      printed += chunk
    })
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0)
    expect(printed.trim()).toBe('bounce/ann@example.org/py@example.com')
    expect(await world.temporal.workflow.getHandle(printed.trim()).result()).toMatchObject({ outcome: 'delivered' })
  } finally {
    folder.remove()
    await world.close()
    await system.close()
  }
})
