/** Secrets are planted in every secret setting, everything fails, and no output or stored data contains any of them. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import { allSettings } from '../../src/config/schema.js'
import { yamlKeys } from '../support/config.js'
import { type RealWorld, runCli, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { startScript } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

/** Unique text that is valid in every secret setting. */
const planted = (n: number) => `Pl4nted${String(n).padStart(2, '0')}Secret0123456789`
const base64 = (n: number) => Buffer.from(planted(n).padEnd(32, '0')).toString('base64')
let port = 0
const secrets = (): Record<string, string> => ({
  SOFTBOUNCE_RELAY_URL: `smtp://user:${planted(1)}@127.0.0.1:${port}`,
  SOFTBOUNCE_RELAY_BACKUP_URL: `smtps://user:${planted(2)}@127.0.0.1:1`,
  SOFTBOUNCE_RETURN_PATH_KEYS: base64(3),
  SOFTBOUNCE_INTAKE_IMAP_URL: `imaps://user:${planted(4)}@127.0.0.1:1/INBOX`,
  SOFTBOUNCE_PROVIDERS_MAILGUN_SIGNING_KEY: planted(5),
  SOFTBOUNCE_PROVIDERS_POSTMARK_WEBHOOK_SECRET: planted(6),
  SOFTBOUNCE_PROVIDERS_RESEND_WEBHOOK_SECRET: `whsec_${base64(7)}`,
  SOFTBOUNCE_PROVIDERS_API_KEY: planted(8),
  SOFTBOUNCE_EVENTS_WEBHOOK_URL: `http://127.0.0.1:1/${planted(9)}`,
  SOFTBOUNCE_EVENTS_WEBHOOK_SECRET: `whsec_${base64(10)}`,
  SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`k1:${base64(11)}`),
  SOFTBOUNCE_ENCRYPTION_ID_KEY: base64(14),
  SOFTBOUNCE_ENCRYPTION_CODEC_TOKEN: planted(12),
  SOFTBOUNCE_HTTP_TOKEN: planted(13),
})
/** The forms in which a secret could leak: plain or base64. */
const betraying = () =>
  Array.from({ length: 14 }, (_, i) => [
    planted(i + 1),
    base64(i + 1).slice(0, 24),
    Buffer.from(planted(i + 1))
      .toString('base64')
      .slice(0, 24),
  ]).flat()

let world: RealWorld
let worker: WorkerProcess
let relay: Awaited<ReturnType<typeof startScript>>
const httpPort = 30_000 + Math.floor(Math.random() * 10_000)
beforeAll(async () => {
  // the relay refuses the login and echoes everything it received
  relay = await startScript((line) => {
    if (line === '') return '220 relay ESMTP\r\n'
    if (line.startsWith('EHLO')) return '250-relay\r\n250 AUTH PLAIN LOGIN\r\n'
    return line.startsWith('AUTH') ? '535 5.7.8 wrong\r\n' : '250 ok\r\n'
  })
  port = relay.port
  world = await startRealWorld({
    ...secrets(),
    ...{
      SOFTBOUNCE_RELAY_TLS: 'off',
      SOFTBOUNCE_RELAY_PROVIDER: 'sendgrid',
      SOFTBOUNCE_PROVIDERS_API_URL: 'http://127.0.0.1:1',
    },
    ...{
      SOFTBOUNCE_RETRY_SCHEDULE: '1s',
      SOFTBOUNCE_EVENTS_PUBLISH: 'bounce.retrying, bounce.delivered',
      SOFTBOUNCE_HTTP_PORT: String(httpPort),
      SOFTBOUNCE_LOG_LEVEL: 'debug',
    },
  })
  worker = await world.startWorker()
})
afterAll(async () => {
  await world.close()
  await relay.close()
})

test('every masked setting is planted here, so that a new one is not forgotten', () => {
  const masked = allSettings().flatMap(({ variable, isSecret }) => (isSecret ? [variable] : []))
  expect(masked.filter((name) => !(name in secrets()) && name !== 'SOFTBOUNCE_DATABASE_URL')).toEqual([])
})

test('no secret appears in logs, histories, descriptions, metrics, command output or the database', {
  timeout: 120_000,
}, async () => {
  const message = 'From: shop@example.com\r\nMessage-ID: <m1@example.com>\r\n\r\nhello\r\n'
  const bounce = { sender: 'shop@example.com', recipient: 'ann@example.org', status: '4.3.2', bouncedAt: new Date().toISOString() }
  await world.client.retry(message, bounce, { urgent: true })
  // the backup relay is unreachable
  await world.client.retry(message, { ...bounce, recipient: 'bob@example.org' }, { urgent: { via: 'backup-relay' } })
  const workflowId = world.client.workflowId('ann@example.org', 'm1@example.com')
  await eventually(() => relay.heard.some((line) => line.startsWith('AUTH')), 60_000)
  await eventually(() => /webhook did not answer/.test(worker.log()), 30_000)
  const told: Record<string, string> = { worker: worker.log() }
  for (const args of [
    ['config'],
    ['config', '--json'],
    ['status'],
    ['status', workflowId],
    ['destinations'],
    ['history', 'ann@example.org'],
    ['report'],
    ['intake', '--lmtp', 'nowhere:x'],
  ]) {
    const { stdout, stderr } = await world.cli(...args)
    told[args.join(' ')] = stdout + stderr
  }
  const page = (path: string) => fetch(`http://127.0.0.1:${httpPort}${path}`, { headers: { authorization: `Bearer ${planted(13)}` } })
  expect((await fetch(`http://127.0.0.1:${httpPort}/metrics`)).status).toBe(401)
  expect((await fetch(`http://127.0.0.1:${httpPort}/healthz`)).status).toBe(200)
  for (const path of ['/metrics', '/metrics/temporal', '/healthz']) {
    const response = await page(path)
    expect(response.status).toBe(200)
    told[path] = await response.text()
  }
  const { workflow } = world.temporal
  for await (const { workflowId: id, runId } of workflow.list()) {
    const handle = workflow.getHandle(id, runId)
    told[`history of ${id}`] = readable(await handle.fetchHistory())
    told[`description of ${id}`] = readable((await handle.describe()).raw)
  }
  const file = (world.env.SOFTBOUNCE_DATABASE_URL as string).slice('file:'.length)
  told.database = readFileSync(file).toString('latin1')
  expect(Object.keys(told).length).toBeGreaterThan(15)
  const found = Object.entries(told).flatMap(([where, text]) =>
    betraying()
      .filter((one) => text.includes(one))
      .map((one) => `${one} in ${where}`),
  )
  expect(found).toEqual([])
  // the search does find planted secrets
  expect(betraying().some((one) => JSON.stringify(secrets()).includes(one))).toBe(true)
})

test('an invalid secret setting is reported without its value', async () => {
  const refused: string[] = []
  for (const [name, value] of Object.entries(secrets())) {
    let said = ''
    try {
      readSettings({ ...world.env, [name]: `${value}\u0001` })
    } catch (error) {
      said = String((error as Error).stack) + JSON.stringify(error)
    }
    if (said.includes(name)) refused.push(name)
    expect(betraying().filter((one) => said.includes(one))).toEqual([])
  }
  expect(refused.length).toBeGreaterThan(5)
  const all = Object.fromEntries(Object.entries(secrets()).map(([name, value]) => [name, `${value}\u0001`]))
  const { status, stderr } = await runCli('.', { ...world.env, ...all }, ['worker'])
  expect(status).toBe(2)
  expect(betraying().filter((one) => stderr.includes(one))).toEqual([])
})

/** JSON, with payload bytes as text. */
function readable(of: unknown): string {
  return JSON.stringify(of, (_, value) =>
    value?.type === 'Buffer'
      ? Buffer.from(value.data).toString('latin1')
      : value instanceof Uint8Array
        ? Buffer.from(value).toString('latin1')
        : value,
  )
}
