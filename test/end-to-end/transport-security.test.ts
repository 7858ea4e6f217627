/** MTA-STS (RFC 8461) and DANE (RFC 7672) in direct delivery: real DNS, a real policy over HTTPS, a real certificate. */
import { createHash, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { checkDane } from '../../src/delivery/dane.js'
import { converse, mailHosts, nextHopTo, resolverOf } from '../../src/delivery/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { type Certificates, makeCertificates } from '../support/certificates.js'
import { temporaryFolder } from '../support/databases.js'
import { type NameServer, startNameServer, withoutNameServer } from '../support/name-server.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually, QUICK } from '../support/skipping-time.js'

const HOST = '127.0.0.41'
const without = withoutNameServer ?? (userInfo().uid === 0 ? null : 'the policy is served on port 443, which wants root')

describe.skipIf(without !== null)(`transport security${without === null ? '' : ` (${without})`}`, () => {
  const folder = temporaryFolder()
  const closers: (() => unknown)[] = []
  const certificates: Certificates = makeCertificates([
    ...['good', 'named', 'stranger'].map((name) => `DNS:mta-sts.${name}.example`),
    'DNS:mx.good.example',
  ])
  let names: NameServer
  let port: number
  let system: ReceivingSystem
  let world: RealWorld

  beforeAll(async () => {
    port = await freePort()
    const zone = (mx: string) => `@ IN MX 10 ${mx}\n_mta-sts IN TXT "v=STSv1; id=1"\nmta-sts IN A ${HOST}\nmx IN A ${HOST}`
    names = await startNameServer({
      'good.example': zone('mx'),
      'named.example': zone('mx'),
      'stranger.example': zone('mx.good.example.'),
      'plain.example': `@ IN MX 10 mx\nmx IN A ${HOST}`,
    })
    system = await startReceivingSystem(
      { server: { key: certificates.key, cert: certificates.cert, disabledCommands: ['AUTH'] } },
      { host: HOST, port },
    )
    const policies = createServer({ key: certificates.key, cert: certificates.cert }, (request, response) => {
      const domain = String(request.headers.host).replace('mta-sts.', '')
      response.end(`version: STSv1\nmode: enforce\nmx: mx.${domain}\nmax_age: 86400\n`)
    })
    await new Promise<void>((resolve) => policies.listen(443, HOST, resolve))
    const caFile = join(folder.path, 'ca.pem')
    writeFileSync(caFile, certificates.ca)
    world = await startRealWorld({
      ...{
        SOFTBOUNCE_DIRECT_ENABLED: 'true',
        SOFTBOUNCE_DIRECT_DNS_SERVERS: names.address,
        SOFTBOUNCE_DIRECT_PORT: String(port),
        SOFTBOUNCE_DIRECT_ALLOW_PRIVATE_MX: 'true',
      },
      NODE_EXTRA_CA_CERTS: caFile,
    })
    closers.push(world.close, system.close, () => new Promise((resolve) => policies.close(resolve)), names.close, folder.remove)
    await world.startWorker()
  })
  afterAll(async () => {
    for (const close of closers) await close()
  })

  const retry = (domain: string) =>
    world.client.retry(
      `From: shop@example.com\r\nMessage-ID: <${domain}@example.com>\r\n\r\nhello\r\n`,
      { sender: 'bounces@example.com', recipient: `ann@${domain}`, status: '4.3.2', bouncedAt: new Date().toISOString() },
      { schedule: ['1s', '1h'] },
    )

  test('a host that satisfies the policy gets the message over verified TLS, and the policy is cached', async () => {
    const started = await retry('good.example')
    expect(await started.result()).toMatchObject({ outcome: 'delivered', attempts: [{ mailServer: `mx.good.example:${port}` }] })
    expect(system.taken.map(({ to }) => to[0])).toContain('ann@good.example')
    expect(await world.database.db.selectFrom('mta_sts_policies').selectAll().where('domain', '=', 'good.example').execute()).toMatchObject(
      [{ id: '1', mode: 'enforce', mx: '["mx.good.example"]' }],
    )
  })

  for (const [domain, what] of [
    ['named.example', 'a certificate with another name'],
    ['stranger.example', 'a host that the policy does not name'],
  ] as const)
    test(`${what} defers the message, with no cleartext fallback`, async () => {
      const started = await retry(domain)
      const standing = await eventually(async () => {
        const now = await world.temporal.workflow.getHandle(started.workflowId).query(progress)
        return now.retry === 2 && now
      })
      expect(standing).toMatchObject({ lastAttempt: { outcome: 'deferred', status: '4.7.5' } })
      expect(system.taken.map(({ to }) => to[0])).not.toContain(`ann@${domain}`)
    })

  test('without a policy TLS is opportunistic and unverified', async () => {
    const started = await retry('plain.example')
    expect(await started.result()).toMatchObject({ outcome: 'delivered' })
  })

  describe('DANE', () => {
    const resolve = () => resolverOf([names.address])
    /** Sends with these TLSA records, as Node's resolver returns them. */
    const send = async (...records: { certUsage: number; selector: number; match: number; data: Buffer }[]) => {
      const ask = async (name: string, type: string) => (type === 'TLSA' ? records : resolve()(name, type))
      const found = await mailHosts('good.example', { dnsServers: [], port, allowPrivateMx: true, dane: true }, ask)
      if (found.kind !== 'hosts') throw new Error(JSON.stringify(found))
      const [host] = found.hosts
      if (host === undefined) throw new Error('there must be a host')
      const path = nextHopTo(host, null, { port, bindAddresses: [] })
      expect(path.tls).toBe('dane')
      const { result, session } = await converse({
        ...{ path, ehloDomain: 'softbounce.example.com', timeouts: QUICK, sender: 'bounces@example.com', recipient: 'dane@good.example' },
        ...{ content: Buffer.from('From: a@example.com\r\n\r\nhello\r\n'), beforeContent: async () => true },
      })
      await session?.end()
      return result
    }
    const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest()
    const leaf = new X509Certificate(certificates.cert)
    const ca = new X509Certificate(certificates.ca)
    const spki = (certificate: X509Certificate) => certificate.publicKey.export({ type: 'spki', format: 'der' }) as Buffer
    const TAKEN = { kind: 'reply', reply: { code: 250 } }

    test('a certificate, key or trust anchor that matches a TLSA record is accepted, whoever signed it', async () => {
      expect(await send({ certUsage: 3, selector: 0, match: 1, data: sha256(leaf.raw) })).toMatchObject(TAKEN)
      expect(await send({ certUsage: 3, selector: 1, match: 1, data: sha256(spki(leaf)) })).toMatchObject(TAKEN)
      expect(await send({ certUsage: 3, selector: 1, match: 0, data: spki(leaf) })).toMatchObject(TAKEN)
      expect(await send({ certUsage: 2, selector: 1, match: 1, data: sha256(spki(ca)) })).toMatchObject(TAKEN)
      expect(await send({ certUsage: 3, selector: 1, match: 2, data: createHash('sha512').update(spki(leaf)).digest() })).toMatchObject(
        TAKEN,
      )
      // usages that do not apply to SMTP (RFC 7672 3.1.3): TLS is required, but not verified
      expect(await send({ certUsage: 1, selector: 0, match: 1, data: Buffer.alloc(32) })).toMatchObject(TAKEN)
    })

    test('a mismatch defers, and nothing is sent', async () => {
      const before = system.taken.length
      for (const record of [
        { certUsage: 3, selector: 1, match: 1, data: Buffer.alloc(32) },
        { certUsage: 2, selector: 1, match: 1, data: sha256(spki(leaf)) },
      ])
        expect(await send(record)).toMatchObject({ kind: 'policy', text: expect.stringContaining('TLSA') })
      expect(system.taken).toHaveLength(before)
    })

    test('a trust anchor that signed nothing in the chain does not count', () => {
      const other = makeCertificates(['DNS:mx.good.example'])
      const shown = { raw: new X509Certificate(other.cert).raw, issuerCertificate: { raw: ca.raw, fingerprint256: ca.fingerprint256 } }
      const record = { certUsage: 2, selector: 1, match: 1, data: sha256(spki(ca)) }
      expect(checkDane(shown as never, [record], 'mx.good.example', new Date())).toContain('none of those')
      const own = { raw: leaf.raw, issuerCertificate: { raw: ca.raw, fingerprint256: ca.fingerprint256 } }
      expect(checkDane(own as never, [record], 'mx.good.example', new Date())).toBeNull()
      expect(checkDane({} as never, [record], 'mx.good.example', new Date())).toBe('it shows no certificate')
      expect(checkDane(own as never, [record], 'mx.other.example', new Date())).toContain('is not for mx.other.example')
    })
  })
})
