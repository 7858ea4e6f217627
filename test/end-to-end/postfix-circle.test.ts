/** The full loop on a real Postfix: our message, its bounce, the retry through the same Postfix, and its notification. */
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { track } from '../../src/client/index.js'
import { type Postfix, startPostfix } from '../support/postfix.js'
import { whyNot } from '../support/programs.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const skipped = whyNot(['postfix'])
const KEY = Buffer.from('a key of more than sixteen bytes').toString('base64')
const DOWN = '421 4.3.2 System not accepting network messages'

describe.skipIf(skipped !== null)(`a real Postfix${skipped === null ? '' : ` (${skipped})`}`, () => {
  let world: RealWorld
  let intake: WorkerProcess
  let receiving: ReceivingSystem
  let postfix: Postfix
  const transports: { close(): void }[] = []

  beforeAll(async () => {
    receiving = await startReceivingSystem()
    world = await startRealWorld({
      SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@bounces.{domain}',
      SOFTBOUNCE_RETURN_PATH_KEYS: KEY,
      SOFTBOUNCE_RETRY_SCHEDULE: '1s, 1s',
      SOFTBOUNCE_LOG_LEVEL: 'info',
    })
    intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
    const lmtp = /"lmtp":"127\.0\.0\.1:(\d+)"/.exec(intake.log())?.[1]
    postfix = await startPostfix([
      `relayhost = [127.0.0.1]:${receiving.port}`,
      `transport_maps = inline:{ bounces.example.com=lmtp:inet:[127.0.0.1]:${lmtp} }`,
      'lmtp_destination_recipient_limit = 1',
    ])
    await world.startWorker({ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${postfix.port}`, SOFTBOUNCE_RELAY_TLS: 'off' })
  })
  afterAll(async () => {
    for (const transport of transports) transport.close()
    postfix?.stop()
    await world?.close()
    await receiving?.close()
  })

  function sendThrough() {
    const transport = track(nodemailer.createTransport({ host: '127.0.0.1', port: postfix.port, secure: false, ignoreTLS: true }), {
      ...{
        database: { url: world.env.SOFTBOUNCE_DATABASE_URL as string },
        returnPath: { keys: [KEY], address: 'b+{token}@bounces.{domain}' },
      },
    })
    transports.push(transport)
    return transport
  }

  /** Sends a message through Postfix, and waits for the end of its retries. */
  async function sentAndEnded(to: string) {
    const info = await sendThrough().sendMail({ from: 'shop@example.com', to, subject: 'Your invoice', text: 'Thank you.' })
    const messageId = String(info.messageId).replace(/[<>]/g, '')
    return { messageId, result: await eventually(async () => (await world.client.get(to, messageId))?.result, 45_000) }
  }

  const bounces = () =>
    world.database.db.selectFrom('inbound').select(['disposition', 'action', 'status', 'recipient', 'why']).orderBy('id').execute()

  test('a bounce with 4.3.2 is retried, delivered once, and confirmed by the notification', { timeout: 60_000 }, async () => {
    const [connected, before] = [receiving.connections.length, (await bounces()).length]
    receiving.say = { rcpt: () => (receiving.connections.length > connected + 1 ? undefined : DOWN) }
    const { result } = await sentAndEnded('ann@example.org')
    expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(receiving.taken.filter((t) => t.to.includes('ann@example.org'))).toHaveLength(1)
    const taken = receiving.taken.find((t) => t.to.includes('ann@example.org'))
    expect(taken?.from).toMatch(/^b\+[a-z2-7]{39}@bounces\.example\.com$/)
    expect(taken?.content.toString()).toContain('Thank you.')
    expect((await bounces()).slice(before).map((b) => [b.disposition, b.action])).toEqual([
      ['retry-started', 'failed'],
      ['retry-updated', 'relayed'],
    ])
  })

  test('with a persistent 4.3.2 every retry bounces, and the address is suppressed temporarily', { timeout: 60_000 }, async () => {
    receiving.say = { rcpt: () => DOWN }
    const before = (await bounces()).length
    const { messageId, result } = await sentAndEnded('bob@example.net')
    expect(result).toMatchObject({ outcome: 'suppressed', retries: 2 })
    expect(result?.attempts.map((a) => [a.outcome, a.status])).toEqual([
      ['deferred', '4.3.2'],
      ['deferred', '4.3.2'],
    ])
    expect((await bounces()).slice(before).map((b) => b.disposition)).toEqual(['retry-started', 'retry-updated', 'retry-updated'])
    expect(await world.client.isSuppressed('bob@example.net')).toMatchObject({ reason: 'unavailable', status: '4.3.2' })
    await expect(sendThrough().sendMail({ from: 'shop@example.com', to: 'bob@example.net', text: 'x' })).rejects.toMatchObject({
      name: 'SuppressedRecipients',
    })
    expect(world.client.workflowId('bob@example.net', messageId)).toBe(`bounce/bob@example.net/${messageId}`)
  })
})
