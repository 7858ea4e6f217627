/**
 * Behind a Postfix with its stock lifetimes (5 d) and the one line of docs/how-to/postfix.md: a 4.3.2 comes back within seconds, every other
 * deferral stays in Postfix's queue, and each retry through the same Postfix fails and succeeds the same way.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromEnvironment, track } from '../../src/client/index.js'
import { readSettings } from '../../src/config/index.js'
import { checkPostfix } from '../../src/doctor/check-postfix.js'
import { type Postfix, startPostfix } from '../support/postfix.js'
import { programPath, whyNot } from '../support/programs.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const skipped = whyNot(['postfix'])
const KEY = Buffer.from('a key of more than sixteen bytes').toString('base64')
const NOT_NOW = '421 4.3.2 System not accepting network messages'

/** The filter as the page gives it: what the test runs is what a reader copies. */
function filterOfThePage(): string {
  const page = readFileSync(fileURLToPath(new URL('../../docs/how-to/postfix.md', import.meta.url)), 'utf8')
  return /^ *(\/\^4.*)$/m.exec(page)?.[1] as string
}

describe.skipIf(skipped !== null)(`a stock Postfix${skipped === null ? '' : ` (${skipped})`}`, () => {
  let world: RealWorld
  let receiving: ReceivingSystem
  let postfix: Postfix
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-filter-'))

  beforeAll(async () => {
    receiving = await startReceivingSystem()
    world = await startRealWorld({ SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@bounces.{domain}', SOFTBOUNCE_RETURN_PATH_KEYS: KEY })
    const intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
    const lmtp = /"lmtp":"127\.0\.0\.1:(\d+)"/.exec(intake.log())?.[1]
    const filter = join(folder, 'dsn_filter')
    writeFileSync(filter, `${filterOfThePage()}\n`)
    postfix = await startPostfix(
      [
        `relayhost = [127.0.0.1]:${receiving.port}`,
        `transport_maps = inline:{ bounces.example.com=lmtp:inet:[127.0.0.1]:${lmtp} }`,
        `smtp_delivery_status_filter = regexp:${filter}`,
        // a host that is refused is not tried again for a minute otherwise
        'minimal_backoff_time = 2s',
        'queue_run_delay = 2s',
        'maximal_backoff_time = 2s',
        'smtp_destination_concurrency_failed_cohort_limit = 0',
      ],
      [],
      [],
    )
    await world.startWorker({ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${postfix.port}`, SOFTBOUNCE_RELAY_TLS: 'off' })
  })
  afterAll(async () => {
    postfix?.stop()
    await world?.close()
    await receiving?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function send(to: string, schedule: string[]) {
    const transporter = track(
      nodemailer.createTransport({ host: '127.0.0.1', port: postfix.port, secure: false, ignoreTLS: true }),
      fromEnvironment(world.env),
    )
    const info = await transporter.sendMail({
      ...{ from: 'shop@example.com', to, subject: 'Your invoice', text: 'Thank you.' },
      softbounce: { schedule },
    })
    transporter.close()
    return String(info.messageId).replace(/[<>]/g, '')
  }
  const queue = () => execFileSync(programPath('postqueue') as string, ['-c', postfix.config, '-p'], { encoding: 'utf8' })

  test('its lifetimes are the stock ones', () => {
    const shown = execFileSync(
      programPath('postconf') as string,
      ['-c', postfix.config, 'maximal_queue_lifetime', 'bounce_queue_lifetime'],
      {
        encoding: 'utf8',
      },
    )
    expect(shown).toBe('maximal_queue_lifetime = 5d\nbounce_queue_lifetime = 5d\n')
  })

  test('a 4.3.2 waits for retry 1 within seconds of the refusal', { timeout: 60_000 }, async () => {
    receiving.say = { rcpt: () => NOT_NOW }
    const began = Date.now()
    const messageId = await send('ann@stock.example', ['1h', '4h', '12h', '24h'])
    await eventually(async () => (await world.client.get('ann@stock.example', messageId))?.progress?.state === 'waiting', 30_000)
    // the goal is 5 s; a busy machine gets more
    expect(Date.now() - began).toBeLessThan(15_000)
    expect((await world.client.get('ann@stock.example', messageId))?.progress).toMatchObject({ retry: 1, of: 4 })
    const [report] = await world.database.db
      .selectFrom('inbound')
      .select(['status', 'diagnostic', 'disposition'])
      .orderBy('id', 'desc')
      .execute()
    expect(report).toMatchObject({ disposition: 'retry-started', status: '4.3.2', diagnostic: expect.stringMatching(/^421 4\.3\.2/) })
    expect(queue()).toContain('Mail queue is empty')
  })

  test('another deferral stays in Postfix’s queue, and Postfix delivers it', { timeout: 60_000 }, async () => {
    receiving.say = { rcpt: () => '451 4.7.1 Greylisted' }
    const before = await world.database.db.selectFrom('inbound').select('id').execute()
    await send('bob@stock.example', ['1h'])
    await eventually(() => queue().includes('bob@stock.example') && queue().includes('Greylisted'), 20_000)
    receiving.say = {}
    await eventually(() => receiving.taken.some(({ to }) => to.includes('bob@stock.example')), 40_000)
    expect((await world.database.db.selectFrom('inbound').select(['id', 'disposition']).execute()).slice(before.length)).not.toContainEqual(
      expect.objectContaining({ disposition: 'retry-started' }),
    )
  })

  test('retries through the same Postfix fail and succeed the same way, confirmed by its report', { timeout: 90_000 }, async () => {
    let refusals = 0
    receiving.say = {
      rcpt: ({ address }) => {
        if (address === 'eve@stock.example') refusals += 1
        return refusals <= 2 ? NOT_NOW : undefined
      },
    }
    const messageId = await send('eve@stock.example', ['1s', '1s', '1s'])
    const result = await eventually(async () => (await world.client.get('eve@stock.example', messageId))?.result, 60_000)
    expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 2 })
    expect(result?.attempts.map(({ outcome, status }) => [outcome, status])).toEqual([
      ['deferred', '4.3.2'],
      ['accepted', '2.0.0'],
    ])
    expect(receiving.taken.filter(({ to }) => to.includes('eve@stock.example'))).toHaveLength(1)
  })
})

test.skipIf(skipped !== null)(
  'an original that an alias’s system returned arrives with the retry: no forwarding loop',
  { timeout: 120_000 },
  async () => {
    const receiving = await startReceivingSystem({ rcpt: ({ address }) => (address === 'inner@down.example' ? NOT_NOW : undefined) })
    const reports = await startReceivingSystem()
    const postfix = await startPostfix([
      'mydestination = alias.example',
      'alias_maps = inline:{ {ann = inner@down.example} }',
      `transport_maps = inline:{ down.example=smtp:[127.0.0.1]:${receiving.port}, sender.example=smtp:[127.0.0.1]:${reports.port} }`,
    ])
    const world = await startRealWorld({
      SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${postfix.port}`,
      SOFTBOUNCE_RELAY_TLS: 'off',
      SOFTBOUNCE_RELAY_CONFIRM_WITHIN: '1s',
    })
    await world.startWorker()
    const transport = nodemailer.createTransport({ host: '127.0.0.1', port: postfix.port, secure: false, ignoreTLS: true })
    await transport.sendMail({ from: 'shop@sender.example', to: 'ann@alias.example', subject: 'Your invoice', text: 'Thank you.' })
    await eventually(() => reports.taken.length > 0, 30_000)
    const report = reports.taken[0]?.content as Buffer
    expect(report.toString()).toContain('Delivered-To: ann@alias.example')
    const folder = mkdtempSync(join(tmpdir(), 'softbounce-alias-'))
    const file = join(folder, 'bounce.eml')
    writeFileSync(file, report)
    receiving.say = {}
    expect(await world.cli('retry', file, '--schedule', '1s')).toMatchObject({ status: 0 })
    await eventually(() => receiving.taken.length > 0, 30_000)
    expect(receiving.taken[0]).toMatchObject({ to: ['inner@down.example'] })
    expect(receiving.taken[0]?.content.toString()).toContain('Thank you.')
    expect(postfix.log()).not.toContain('mail forwarding loop')
    transport.close()
    postfix.stop()
    await world.close()
    await Promise.all([receiving.close(), reports.close()])
    rmSync(folder, { recursive: true, force: true })
  },
)

test.skipIf(skipped !== null)('the filter for tracked mail alone leaves other mail in the queue', { timeout: 60_000 }, async () => {
  const receiving = await startReceivingSystem({ rcpt: () => NOT_NOW })
  const reports = await startReceivingSystem()
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-tracked-'))
  const filter = join(folder, 'dsn_filter')
  writeFileSync(filter, `${filterOfThePage()}\n`)
  const postfix = await startPostfix(
    [
      `relayhost = [127.0.0.1]:${receiving.port}`,
      'sender_dependent_default_transport_maps = inline:{ @bounces.example.com=tracked: }',
      `transport_maps = inline:{ bounces.example.com=smtp:[127.0.0.1]:${reports.port} }`,
    ],
    ['tracked unix - - n - - smtp', `  -o smtp_delivery_status_filter=regexp:${filter}`],
    [],
  )
  const transport = nodemailer.createTransport({ host: '127.0.0.1', port: postfix.port, secure: false, ignoreTLS: true })
  const mail = { from: 'shop@example.com', subject: 'Hello', text: 'Thank you.' }
  await transport.sendMail({ ...mail, to: 'ann@example.org', envelope: { from: 'b+x@bounces.example.com', to: 'ann@example.org' } })
  await transport.sendMail({ ...mail, to: 'bob@example.org', envelope: { from: 'other@example.com', to: 'bob@example.org' } })
  await eventually(() => reports.taken.length > 0, 20_000)
  expect(reports.taken[0]?.to).toEqual(['b+x@bounces.example.com'])
  const queue = () => execFileSync(programPath('postqueue') as string, ['-c', postfix.config, '-p'], { encoding: 'utf8' })
  await eventually(() => queue().includes('bob@example.org'), 20_000)
  expect(queue()).not.toContain('ann@example.org')
  const found = await checkPostfix(readSettings({}), postfix.config, null)
  expect(found[0]).toMatchObject({ result: 'ok', text: expect.stringContaining('tracked') })
  transport.close()
  postfix.stop()
  await Promise.all([receiving.close(), reports.close()])
  rmSync(folder, { recursive: true, force: true })
})
