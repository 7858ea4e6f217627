/** SSRF: untrusted data opens connections only to public addresses, and redirects are not followed. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { deliverWebhook } from '../../src/activities/deliver-webhook.js'
import type { SoftbounceEvent } from '../../src/bounce/index.js'
import { readSettings } from '../../src/config/config.js'
import { StsPolicies } from '../../src/delivery/mta-sts.js'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
})

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a webhook', () => {
  const event: SoftbounceEvent = {
    ...{ id: 'evt_1', type: 'destination.down', timestamp: '2026-11-26T10:00:00Z' },
    data: { destination: 'example.org', since: '2026-11-26T09:00:00Z' },
  } as SoftbounceEvent
  const deliver = (url: string) =>
    deliverWebhook(event, 1, {
      settings: readSettings({
        SOFTBOUNCE_EVENTS_WEBHOOK_URL: url,
        SOFTBOUNCE_EVENTS_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 1).toString('base64')}`,
      }),
      now: () => new Date(),
      log: { debug() {}, info() {}, warn() {}, error() {} },
    } as unknown as Parameters<typeof deliverWebhook>[2])

  test.each([301, 302, 303, 307, 308])('a webhook that replies %i is not followed, and counts as a failure', async (status) => {
    const asked: string[] = []
    const inside = await serve((request, response) => {
      asked.push(request.url ?? '')
      response.end('a secret of this network')
    })
    const outside = await serve((_request, response) => response.writeHead(status, { location: `${inside}/latest/meta-data` }).end())
    await expect(deliver(`${outside}/hook`)).rejects.toThrow('the webhook did not answer')
    expect(asked).toEqual([])
  })

  test('a webhook gets the event', async () => {
    const asked: string[] = []
    const url = await serve((request, response) => {
      asked.push(request.url ?? '')
      response.end()
    })
    await deliver(`${url}/hook`)
    expect(asked).toEqual(['/hook'])
  })
})

describe('the policy host of a stranger’s domain', () => {
  const INSIDE = ['127.0.0.1', '10.0.0.1', '169.254.169.254', '192.168.1.1', '100.64.0.1', '::1', 'fd00::1', 'fe80::1', '::ffff:127.0.0.1']
  const meet = async (address: string, allowPrivateMx: boolean) => {
    let requests = 0
    const count = () => {
      requests += 1
    }
    const resolve = async (name: string, type: string) => {
      if (type === 'TXT' && name === '_mta-sts.example.org') return [['v=STSv1; id=1;']]
      const wanted = address.includes(':') ? 'AAAA' : 'A'
      if (type !== wanted) throw Object.assign(new Error('none'), { code: 'ENODATA' })
      return [address]
    }
    const store = { find: async () => null, keep: async () => {} }
    subscribe('http.client.request.start', count)
    const policy = await new StsPolicies(resolve as never, store, allowPrivateMx).policyOf('example.org', new Date())
    unsubscribe('http.client.request.start', count)
    expect(policy).toBeNull()
    return requests
  }

  test.each(INSIDE)('a policy host at %s is not contacted', async (address) => {
    expect(await meet(address, false)).toBe(0)
  })

  test('a private policy host is contacted if allowed, which proves that the count works', async () => {
    expect(await meet('127.0.0.1', true)).toBe(1)
  })
})
