/** MTA-STS policies (RFC 8461) are fetched, cached and refreshed: a real HTTPS server, a simulated clock. */
import { createServer, globalAgent } from 'node:https'
import { userInfo } from 'node:os'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { StsPolicies, type StsPolicy } from '../../src/delivery/mta-sts.js'
import { makeCertificates } from '../support/certificates.js'

const HOST = '127.0.0.42'
const DOMAIN = 'example.org'
const without = userInfo().uid === 0 ? null : 'the policy is served on port 443, which wants root'
const POLICY = 'version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 604800\n'
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const START = Date.parse('2026-11-27T08:00:00Z')

describe.skipIf(without !== null)(`the policy of a domain${without === null ? '' : ` (${without})`}`, () => {
  const { ca, ...certificate } = makeCertificates([`DNS:mta-sts.${DOMAIN}`])
  let answer: { status: number; text: string }
  let fetched = 0
  let record: string | Error
  let addresses: Record<string, string[]>
  let kept: StsPolicy | null
  let policies: StsPolicies
  let server: ReturnType<typeof createServer>

  beforeAll(async () => {
    globalAgent.options.ca = ca
    server = createServer(certificate, (request, response) => {
      fetched += 1
      expect(request.url).toBe('/.well-known/mta-sts.txt')
      response.writeHead(answer.status).end(answer.text)
    })
    await new Promise<void>((resolve) => server.listen(443, HOST, resolve))
  })
  afterAll(async () => {
    delete globalAgent.options.ca
    await new Promise((resolve) => server.close(resolve))
  })
  beforeEach(() => {
    answer = { status: 200, text: POLICY }
    fetched = 0
    record = 'v=STSv1; id=1;'
    addresses = { A: [HOST] }
    kept = null
    policies = anew()
  })
  /** A process that has just started: it has only the cached policies. */
  const anew = () =>
    new StsPolicies(
      async (name, type) => {
        if (type === 'TXT') {
          if (record instanceof Error) throw record
          return [[record]]
        }
        const found = name === `mta-sts.${DOMAIN}` ? addresses[type] : undefined
        if (found === undefined) throw Object.assign(new Error('none'), { code: 'ENODATA' })
        return found
      },
      {
        find: async () => kept,
        keep: async (_, policy) => {
          kept = policy
        },
      },
      true,
    )
  const at = (ms: number) => policies.policyOf(DOMAIN, new Date(START + ms))
  const dns = (code: string) => Object.assign(new Error(code), { code })

  test('a policy is fetched over verified TLS, cached, and checked at most once in five minutes', async () => {
    expect(await at(0)).toEqual({
      ...{ id: '1', mode: 'enforce', mx: ['mx.example.org'] },
      ...{ fetchedAt: new Date(START), expiresAt: new Date(START + 7 * DAY) },
    })
    expect(kept).toEqual(await at(0))
    record = 'v=STSv1; id=2;'
    answer.text = POLICY.replace('enforce', 'testing')
    expect(await at(4 * MINUTE)).toMatchObject({ id: '1', mode: 'enforce' })
    expect(fetched).toBe(1)
    expect(await at(6 * MINUTE)).toMatchObject({ id: '2', mode: 'testing' })
    expect(fetched).toBe(2)
  })

  test('a policy cached by another process is not fetched again within a day while its record is unchanged', async () => {
    await at(0)
    policies = anew()
    expect(await at(23 * HOUR)).toMatchObject({ id: '1', fetchedAt: new Date(START) })
    expect(fetched).toBe(1)
    policies = anew()
    expect(await at(25 * HOUR)).toMatchObject({ id: '1', fetchedAt: new Date(START + 25 * HOUR) })
    expect(fetched).toBe(2)
  })

  for (const [what, begin] of [
    ['its record cannot be looked up any more', () => ({ record: dns('ESERVFAIL') })],
    ['its record is gone', () => ({ record: dns('ENOTFOUND') })],
    ['it has two records', () => ({ record: 'v=STSv1' })],
    ['its host answers 500', () => ({ record: 'v=STSv1; id=2;', answer: { status: 500, text: '' } })],
    ['its host redirects', () => ({ record: 'v=STSv1; id=2;', answer: { status: 301, text: '' } })],
    ['its host returns an invalid policy', () => ({ record: 'v=STSv1; id=2;', answer: { status: 200, text: 'mode: none\n' } })],
    ['the policy names no hosts', () => ({ record: 'v=STSv1; id=2;', answer: { status: 200, text: POLICY.replace(/mx.*\n/, '') } })],
    ['the policy has no max_age', () => ({ record: 'v=STSv1; id=2;', answer: { status: 200, text: POLICY.replace(/max.*\n/, '') } })],
    ['the policy is too large', () => ({ record: 'v=STSv1; id=2;', answer: { status: 200, text: POLICY + '#'.repeat(100_000) } })],
    ['its host has no address', () => ({ record: 'v=STSv1; id=2;', addresses: {} })],
  ] as const)
    test(`a cached policy stays valid until max_age if ${what}`, async () => {
      await at(0)
      const change: { record?: string | Error; answer?: typeof answer; addresses?: typeof addresses } = begin()
      record = change.record ?? record
      answer = change.answer ?? answer
      addresses = change.addresses ?? addresses
      policies = anew()
      expect(await at(6 * DAY)).toMatchObject({ id: '1', mode: 'enforce', fetchedAt: new Date(START) })
      policies = anew()
      expect(await at(8 * DAY)).toBeNull()
    })

  test('a policy with mode "none" needs no hosts', async () => {
    answer.text = 'version: STSv1\nmode: none\nmax_age: 86400\n'
    expect(await at(0)).toMatchObject({ mode: 'none', mx: [] })
  })

  test('a policy is fetched by IPv6 if its host has no IPv4 address', async () => {
    addresses = { AAAA: [`::ffff:${HOST}`] }
    expect(await at(0)).toMatchObject({ id: '1' })
  })

  test('a policy is not fetched from a private address, unless allowed', async () => {
    policies = new StsPolicies(
      async (_, type) => (type === 'TXT' ? [[record]] : [HOST]),
      { find: async () => kept, keep: async () => {} },
      false,
    )
    expect(await at(0)).toBeNull()
    expect(fetched).toBe(0)
  })

  test('a policy is fetched again if storing it failed', async () => {
    let fails = true
    policies = new StsPolicies(
      async (_, type) => (type === 'TXT' ? [[record]] : [HOST]),
      {
        find: async () => {
          if (fails) throw new Error('the database is away')
          return kept
        },
        keep: async () => {},
      },
      true,
    )
    await expect(at(0)).rejects.toThrow('the database is away')
    fails = false
    expect(await at(1)).toMatchObject({ id: '1' })
  })
})
