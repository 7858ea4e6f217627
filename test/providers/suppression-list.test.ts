/** When our suppression ends, the address is removed at the provider: against a local server that replies as documented. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import type { WrongSettings } from '../../src/config/wrong-settings.js'
import { type ProviderApi, RemovalFailed, unlist } from '../../src/providers/index.js'
import { liftSuppression, suppressForUnavailability, suppressLastingly } from '../../src/suppression/index.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { DAY, eventually } from '../support/skipping-time.js'

interface Asked {
  readonly line: string
  readonly authorization: string
  readonly body: string
}
let server: Server
let url: string
const asked: Asked[] = []
let answer: (line: string) => { status: number; body?: unknown } = () => ({ status: 404 })
const SECRET = 'a-secret-of-32-characters-or-more'

beforeAll(async () => {
  server = createServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const line = `${request.method} ${request.url}`
    const token = request.headers['x-postmark-server-token']
    asked.push({ line, authorization: request.headers.authorization ?? String(token ?? ''), body: Buffer.concat(chunks).toString() })
    const { status, body } = answer(line)
    response.writeHead(status, { 'content-type': 'application/json' }).end(body === undefined ? '' : JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
})
beforeEach(() => {
  asked.length = 0
  answer = () => ({ status: 404 })
})
const api = (provider: ProviderApi['provider'], path = ''): ProviderApi => ({
  ...{ provider, url: `${url}${path}` },
  key: provider === 'ses' ? `AKIAIOSFODNN7EXAMPLE:${SECRET}` : SECRET,
})
const lines = () => asked.map(({ line }) => line)

describe('unlist', () => {
  test('SES: a bounce entry is deleted, signed with Signature Version 4', async () => {
    answer = (line) =>
      line.startsWith('GET')
        ? { status: 200, body: { SuppressedDestination: { EmailAddress: 'ann+1@example.org', Reason: 'BOUNCE' } } }
        : { status: 200, body: {} }
    expect(await unlist(api('ses'), 'ann+1@example.org')).toBe('removed')
    expect(lines()).toEqual([
      'GET /v2/email/suppression/addresses/ann%2B1%40example.org',
      'DELETE /v2/email/suppression/addresses/ann%2B1%40example.org',
    ])
    expect(asked[1]?.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\/\d{8}\/us-east-1\/ses\/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}$/,
    )
    expect(JSON.stringify(asked)).not.toContain(SECRET)
  })

  test('SES: a complaint entry stays', async () => {
    answer = () => ({ status: 200, body: { SuppressedDestination: { Reason: 'COMPLAINT' } } })
    expect(await unlist(api('ses'), 'ann@example.org')).toBe('kept')
    expect(lines()).toHaveLength(1)
  })

  test('SendGrid: entries in bounces and blocks are deleted, those in spam reports stay', async () => {
    answer = (line) => ({ status: line.includes('/blocks/') ? 204 : 404 })
    expect(await unlist(api('sendgrid'), 'ann@example.org')).toBe('removed')
    expect(lines()).toEqual(['DELETE /v3/suppression/bounces/ann%40example.org', 'DELETE /v3/suppression/blocks/ann%40example.org'])
    expect(asked[0]?.authorization).toBe(`Bearer ${SECRET}`)
  })

  test('Mailgun: the bounce entry of the domain is deleted', async () => {
    answer = () => ({ status: 200, body: { message: 'Bounced address has been removed' } })
    expect(await unlist(api('mailgun', '/v3/mg.example.com'), 'ann@example.org')).toBe('removed')
    expect(lines()).toEqual(['DELETE /v3/mg.example.com/bounces/ann%40example.org'])
    expect(asked[0]?.authorization).toBe(`Basic ${Buffer.from(`api:${SECRET}`).toString('base64')}`)
  })

  test('Postmark: a hard bounce entry is deleted', async () => {
    const dump = (SuppressionReason: string) => ({
      status: 200,
      body: { Suppressions: [{ EmailAddress: 'Ann@example.org', SuppressionReason, Origin: 'Recipient' }] },
    })
    answer = (line) =>
      line.startsWith('GET')
        ? dump('HardBounce')
        : { status: 200, body: { Suppressions: [{ EmailAddress: 'ann@example.org', Status: 'Deleted', Message: null }] } }
    expect(await unlist(api('postmark', '/message-streams/outbound'), 'ann@example.org')).toBe('removed')
    expect(asked).toMatchObject([
      { line: 'GET /message-streams/outbound/suppressions/dump?emailaddress=ann%40example.org', authorization: SECRET },
      { line: 'POST /message-streams/outbound/suppressions/delete', body: '{"Suppressions":[{"EmailAddress":"ann@example.org"}]}' },
    ])
    answer = () => dump('SpamComplaint')
    expect(await unlist(api('postmark'), 'ann@example.org')).toBe('kept')
    answer = (line) =>
      line.startsWith('GET') ? dump('HardBounce') : { status: 200, body: { Suppressions: [{ Status: 'Failed', Message: 'not allowed' }] } }
    await expect(unlist(api('postmark'), 'ann@example.org')).rejects.toThrow('not allowed')
  })

  test('an error contains the provider’s reply, but not the key', async () => {
    answer = () => ({ status: 403, body: { errors: [{ message: 'access forbidden' }] } })
    const failed = await unlist(api('sendgrid'), 'ann@example.org').catch((error: Error) => error)
    expect(failed).toBeInstanceOf(RemovalFailed)
    expect((failed as Error).message).toMatch(/^SendGrid answered 403: .*access forbidden/)
    expect((failed as Error).message).not.toContain(SECRET)
    await expect(unlist({ ...api('mailgun'), url: 'http://127.0.0.1:1' }, 'ann@example.org')).rejects.toThrow(
      /Mailgun did not answer: .*(ECONNREFUSED|bad port)/,
    )
  })
})

describe('the settings', () => {
  const read = (more: Record<string, string>) => {
    try {
      return readSettings({ SOFTBOUNCE_PROVIDERS_API_KEY: SECRET, ...more }).unlistBy
    } catch (error) {
      return (error as WrongSettings).faults.join('\n')
    }
  }
  test('missing settings are named', () => {
    expect(read({})).toContain('relay.provider to be one of ses, sendgrid, mailgun, postmark')
    expect(read({ SOFTBOUNCE_RELAY_PROVIDER: 'resend', SOFTBOUNCE_PROVIDERS_API_KEY: SECRET })).toContain('relay.provider to be one of')
    expect(read({ SOFTBOUNCE_PROVIDERS_API_KEY: '', SOFTBOUNCE_PROVIDERS_API_URL: 'https://api.example.com' })).toContain(
      'without providers.api.key',
    )
    expect(read({ SOFTBOUNCE_RELAY_PROVIDER: 'mailgun', SOFTBOUNCE_PROVIDERS_API_KEY: SECRET })).toContain(
      'providers.api.url: it is needed for mailgun',
    )
    expect(
      read({
        SOFTBOUNCE_RELAY_PROVIDER: 'ses',
        SOFTBOUNCE_PROVIDERS_API_KEY: SECRET,
        SOFTBOUNCE_PROVIDERS_API_URL: 'https://email.eu-west-1.amazonaws.com',
      }),
    ).toContain('ACCESS_KEY_ID:SECRET_ACCESS_KEY')
    expect(
      read({
        SOFTBOUNCE_RELAY_PROVIDER: 'sendgrid',
        SOFTBOUNCE_PROVIDERS_API_KEY: SECRET,
        SOFTBOUNCE_PROVIDERS_API_URL: 'http://api.example.com',
      }),
    ).toContain('it must be an https URL')
    expect(read({ SOFTBOUNCE_RELAY_PROVIDER: 'postmark', SOFTBOUNCE_PROVIDERS_API_KEY: SECRET })).toMatchObject({
      url: 'https://api.postmarkapp.com/message-streams/outbound',
    })
    expect(readSettings({ SOFTBOUNCE_RELAY_PROVIDER: 'sendgrid' }).unlistBy).toBeNull()
  })
})

describe('a worker', () => {
  let world: RealWorld
  let worker: WorkerProcess
  const cause = { status: '4.3.2', reply: '421 4.3.2', by: 'w', destination: 'example.org' }
  beforeAll(async () => {
    world = await startRealWorld({
      ...{
        SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:1',
        SOFTBOUNCE_RELAY_PROVIDER: 'sendgrid',
        SOFTBOUNCE_RELAY_TLS: 'off',
        SOFTBOUNCE_LOG_LEVEL: 'info',
      },
      ...{ SOFTBOUNCE_PROVIDERS_API_KEY: SECRET, SOFTBOUNCE_PROVIDERS_API_URL: url },
    })
    worker = await world.startWorker()
  })
  afterAll(() => world.close())

  const run = (workflowId: string) =>
    world.temporal.workflow.execute('removeAtProvider', { workflowId, taskQueue: 'softbounce', args: [] }) as Promise<unknown>

  test('a worker removes lapsed and lifted addresses once; active suppressions stay at the provider', async () => {
    // paused, as its own run each quarter of an hour could interfere
    await world.temporal.schedule.getHandle('softbounce-unlist').pause()
    const { db } = world.database
    const now = Date.now()
    const suppress = (address: string, at: number) =>
      db.transaction().execute((tx) => suppressForUnavailability(tx, address, cause, new Date(at), [DAY], new Date(at)))
    await suppress('lapsed@example.org', now - 2 * DAY)
    await suppress('lifted@example.org', now - 1000)
    await suppress('stands@example.org', now - 1000)
    await suppress('long-ago@example.org', now - 30 * DAY)
    await db.transaction().execute((tx) => liftSuppression(tx, 'lifted@example.org', 'delivered', new Date(), 'temporary'))
    await db
      .transaction()
      .execute((tx) => suppressLastingly(tx, 'complained@example.org', 'complaint', cause, new Date(now - 5000), new Date(now - 1000)))
    // the provider fails the first time
    answer = () => ({ status: 503 })
    const running = run('unlist-1')
    await eventually(() => worker.log().includes('SendGrid answered 503'))
    answer = () => ({ status: 204 })
    expect(await running).toEqual({ removed: 2, notListed: 0, kept: 0 })
    const deleted = new Set(lines().filter((line) => line.includes('/bounces/')))
    expect([...deleted].sort()).toEqual([
      'DELETE /v3/suppression/bounces/lapsed%40example.org',
      'DELETE /v3/suppression/bounces/lifted%40example.org',
    ])
    expect(await run('unlist-2')).toEqual({ removed: 0, notListed: 0, kept: 0 })
    // suppressed again, and ended again
    await suppress('lapsed@example.org', now - 1.5 * DAY)
    await db.transaction().execute((tx) => liftSuppression(tx, 'lapsed@example.org', 'by hand', new Date()))
    expect(await run('unlist-3')).toEqual({ removed: 1, notListed: 0, kept: 0 })
  })

  test('a schedule runs the removal', async () => {
    const description = await world.temporal.schedule.getHandle('softbounce-unlist').describe()
    expect(description.spec.intervals).toMatchObject([{ every: 15 * 60_000 }])
    expect(description.action).toMatchObject({ type: 'startWorkflow', workflowType: 'removeAtProvider', taskQueue: 'softbounce' })
  })
})
