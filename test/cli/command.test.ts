/** The command as a person uses it: each subcommand, its --json, its exit status, its errors. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Libsql from 'libsql'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { retryBouncedMessage } from '../../src/workflows/index.js'
import { report } from '../support/bounce-mails.js'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { type RealWorld, runCli, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { stands } from '../support/skipping-time.js'

// each test runs the command a dozen times
vi.setConfig({ testTimeout: 120_000 })

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const example = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url))
const folder = temporaryFolder()
let world: RealWorld
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem({ banner: () => NOT_NOW })
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  await world.startWorker()
})
afterAll(async () => {
  await world.close()
  await system.close()
  folder.remove()
})
const handle = (workflowId: string) => world.temporal.workflow.getHandle<typeof retryBouncedMessage>(workflowId)
const jsonLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((one) => JSON.parse(one))

describe('retry, status, now, give-up, cancel', () => {
  const id = 'bounce/ann@comes-back.example/invoice-4711@example.com'

  test('a bounce is retried, shown by status, sent now, and given up', async () => {
    const retried = await world.cli('retry', example('invoice-4711.eml'), '--schedule', '400d', '--json')
    expect(retried.status).toBe(1)
    expect(retried.stderr).toContain('a delay is from 1 s to 30 d')
    const good = await world.cli('retry', example('invoice-4711.eml'), '--schedule', '30d*4', '--json')
    expect(good).toMatchObject({ status: 0, stderr: '' })
    expect(jsonLines(good.stdout)).toEqual([
      {
        file: example('invoice-4711.eml'),
        recipient: 'ann@comes-back.example',
        verdict: 'retry',
        reason: expect.stringContaining('takes no messages'),
        workflowId: id,
        ...{ state: 'waits', result: expect.stringContaining('retry 1 of 4 waits for ') },
      },
    ])
    await stands(handle(id), 'waiting', 1)
    expect(jsonLines((await world.cli('status', id, '--json')).stdout)[0]).toMatchObject({
      status: 'RUNNING',
      summary: '4.3.2 for ann@comes-back.example',
      progress: { retry: 1, of: 4 },
    })
    expect((await world.cli('status')).stdout).toMatch(/invoice-4711@example\.com +retry 1 of 4 waits for /)
    expect((await world.cli('status', 'Ann@comes-back.example')).stdout).toContain(id)
    expect((await world.cli('status', 'nobody@example.org')).stdout).toBe('there are no retries for nobody@example.org\n')
    expect(await world.cli('now', id)).toMatchObject({ status: 0, stdout: `${id}: retry 1 of 4 is sent now\n` })
    await stands(handle(id), 'waiting', 2)
    const shown = (await world.cli('status', id)).stdout
    expect(shown).toContain('retry 2 of 4 waits')
    expect(shown).toContain(NOT_NOW)
    expect(await world.cli('give-up', id)).toMatchObject({ status: 0 })
    await handle(id).result()
    expect((await world.cli('status', id)).stdout).toContain('suppressed until')
    const checked = await world.cli('suppressions', 'check', 'ann@comes-back.example', '--json')
    expect(jsonLines(checked.stdout)[0]).toMatchObject({ suppressed: true, suppression: { reason: 'unavailable', status: '4.3.2' } })
    expect((await world.cli('history', 'ann@comes-back.example')).stdout).toMatch(
      /suppressed \(unavailable\) until \S+, by an operator, who gave up/,
    )
    for (const closed of await Promise.all([world.cli('now', id), world.cli('cancel', id)])) {
      expect(closed.status).toBe(1)
      expect(closed.stderr).toContain('is not open')
    }
  })

  test('cancel suppresses nobody; a later bounce does not restart the retries, --again does', async () => {
    const file = example('invoice-4713.eml')
    const bob = 'bounce/eve@moved-away.example/invoice-4713@example.com'
    await world.cli('retry', file, '--schedule', '30d')
    expect((await world.cli('cancel', bob)).status).toBe(0)
    await expect(handle(bob).result()).rejects.toThrow()
    expect((await world.cli('status', bob)).stdout).toContain('cancelled')
    expect((await world.cli('suppressions', 'check', 'eve@moved-away.example')).stdout).toBe('eve@moved-away.example is not suppressed\n')
    expect(await world.cli('retry', file, '--schedule', '30d')).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('were cancelled at'),
      stderr: expect.stringContaining('one recipient is held, or not retried'),
    })
    await expect(handle(bob).result()).rejects.toThrow()
    expect((await world.cli('status', bob)).stdout).toContain('--again')
    await world.cli('retry', file, '--schedule', '30d', '--again')
    await stands(handle(bob), 'waiting', 1)
    expect((await world.cli('status', bob)).stdout).toContain('retry 1 of 1 waits')
    await world.cli('cancel', bob)
  })

  test('a bounce that is not retried starts nothing, and the reason is printed', async () => {
    const change = (name: string, from: RegExp, to: string) => {
      const file = join(folder.path, name)
      writeFileSync(file, readFileSync(example('invoice-4712.eml'), 'utf8').replace(from, to))
      return file
    }
    const delayed = await world.cli('retry', change('delayed.eml', /Action: failed/, 'Action: delayed'))
    expect(delayed).toMatchObject({ status: 0, stdout: expect.stringContaining('nothing to retry (Action: delayed') })
    const relayed = await world.cli('retry', change('relayed.eml', /Action: failed/, 'Action: relayed'), '--json')
    expect(jsonLines(relayed.stdout)[0]).toMatchObject({ verdict: 'ignore' })
    const gone = await world.cli(
      'retry',
      change('gone.eml', /Status: 4\.3\.2([\s\S]+)421 4\.3\.2 [^\n]+/, 'Status: 5.1.1$1550 5.1.1 no such user'),
      '--json',
    )
    expect(jsonLines(gone.stdout)[0]).toMatchObject({ verdict: 'suppress' })
    expect(gone.status).toBe(1)
    // --status is judged, whatever the report says
    const judged = await world.cli('retry', '--status', '5.1.1', example('invoice-4712.eml'))
    expect(judged).toMatchObject({ status: 1, stdout: expect.stringContaining('nothing to retry (5.1.1') })
    const another = await world.cli('retry', '--recipient', 'zed@example.org', example('invoice-4712.eml'))
    expect(another).toMatchObject({ status: 1, stderr: expect.stringContaining('it names bob@stays-down.example') })
    expect(await world.client.get('bob@stays-down.example', 'invoice-4712@example.com')).toBeNull()
  })

  test('now and give-up are answered by the workflow: what it cannot do is exit status 1', async () => {
    const file = join(folder.path, 'asked.eml')
    writeFileSync(file, readFileSync(example('invoice-4712.eml'), 'utf8').replaceAll('invoice-4712', 'asked'))
    const id = 'bounce/bob@stays-down.example/asked@example.com'
    await world.cli('retry', file, '--schedule', '30d')
    expect((await world.cli('now', id)).stdout).toBe(`${id}: retry 1 of 1 is sent now\n`)
    // answered within the ten seconds in which a second press is the same
    const again = await world.cli('now', id)
    expect(again).toMatchObject({ status: 1, stdout: '' })
    expect(again.stderr).toMatch(/asked for less than 10 s ago|is being sent already|the address is being suppressed|is not open/)
    await handle(id).result()
    expect(await world.cli('give-up', id)).toMatchObject({ status: 1, stderr: expect.stringContaining('is not open') })
    // the retries had ended: the same bounce changes nothing
    expect(await world.cli('retry', file, '--schedule', '30d')).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/it had ended before|suppressed/),
    })
  })

  test('without a worker a retry is held, and says so', { timeout: 60_000 }, async () => {
    const idle = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
    const held = await idle.cli('retry', example('invoice-4711.eml'), '--schedule', '30d', '--json')
    expect(held.status).toBe(1)
    expect(jsonLines(held.stdout)[0]).toMatchObject({ state: 'held', result: expect.stringContaining('no worker has taken run') })
    await idle.close()
  })

  test('the stored original is used if the notification does not contain it', async () => {
    const message = 'From: shop@example.com\r\nMessage-ID: <kept@example.com>\r\n\r\nhello\r\n'
    const bounce = { sender: 'shop@example.com', recipient: 'kim@example.org', status: '4.3.2', bouncedAt: new Date().toISOString() }
    const { workflowId } = await world.client.retry(message, bounce, { schedule: ['30d'] })
    await stands(handle(workflowId), 'waiting', 1)
    await handle(workflowId).terminate('Temporal was lost')
    const headers = report(
      { recipient: 'kim@example.org' },
      { original: 'Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <kept@example.com>\r\n' },
    )
    const file = join(folder.path, 'headers.eml')
    writeFileSync(file, headers)
    const again = await world.cli('retry', file, '--sender', 'shop@example.com', '--schedule', '30d')
    expect(again).toMatchObject({ status: 0, stdout: expect.stringContaining(workflowId) })
    await stands(handle(workflowId), 'waiting', 1)
    await world.cli('cancel', workflowId)
    writeFileSync(file, headers.toString().replace('kept@example.com', 'unknown@example.com'))
    expect(await world.cli('retry', file, '--sender', 'shop@example.com')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--message'),
    })
  })

  test('options supply what a notification lacks', async () => {
    const file = join(folder.path, 'bare.eml')
    writeFileSync(file, 'From: daemon@example.net\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\nIt did not work.\r\n')
    const message = join(folder.path, 'original.eml')
    writeFileSync(message, 'From: shop@example.com\nTo: joe@example.org\nMessage-ID: <bare@example.com>\n\nhello\n')
    const lacking = await world.cli('retry', file)
    expect(lacking).toMatchObject({ status: 1, stderr: expect.stringContaining('--recipient') })
    const given = await world.cli(
      'retry',
      file,
      '--message',
      message,
      '--recipient',
      'joe@example.org',
      '--sender',
      'bounces@example.com',
      '--status',
      '4.3.2',
      '--schedule',
      '30d',
    )
    expect(given).toMatchObject({ status: 0, stdout: expect.stringContaining('bounce/joe@example.org/bare@example.com') })
    await world.cli('cancel', 'bounce/joe@example.org/bare@example.com')
  })
})

describe('suppressions', () => {
  test('suppressions are added, listed, checked, exported, used as a filter, and removed', async () => {
    expect((await world.cli('suppressions', 'add', 'Mia@EXAMPLE.org', '--note', 'asked to stop')).stdout).toBe(
      'mia@example.org is suppressed until it is removed\n',
    )
    expect((await world.cli('suppressions', 'add', 'tom@example.org', '--for', '7d')).status).toBe(0)
    const listed = jsonLines((await world.cli('suppressions', 'list', '--json')).stdout).map((entry) => entry.address)
    expect(listed).toEqual(expect.arrayContaining(['mia@example.org', 'tom@example.org']))
    expect((await world.cli('suppressions', 'list')).stdout).toMatch(/mia@example\.org +until it is removed +manual/)
    const exported = (await world.cli('suppressions', 'export')).stdout
    expect(exported.split('\n')[0]).toBe('address,reason,since,until,status,reply,destination,caused_by')
    expect(exported).toContain('mia@example.org,manual,')
    // no CSV cell may be a spreadsheet formula
    await world.cli('suppressions', 'add', '=1+1@example.org')
    expect((await world.cli('suppressions', 'export')).stdout).toMatch(/^'=1\+1@example\.org,manual,/m)
    await world.cli('suppressions', 'remove', '=1+1@example.org')

    const list = join(folder.path, 'list.csv')
    writeFileSync(list, 'name,email\n"Mia, M.",MIA@example.org\nZoe,zoe@example.org\nTom,tom@example.org\nNobody,\n')
    expect(await world.cli('suppressions', 'filter', list)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--unreadable FILE'),
    })
    const unreadable = join(folder.path, 'unreadable.csv')
    const filtered = await world.cli('suppressions', 'filter', list, '--column', 'email', '--unreadable', unreadable)
    expect(filtered).toMatchObject({ status: 0, stdout: 'name,email\nZoe,zoe@example.org\n' })
    expect(readFileSync(unreadable, 'utf8')).toBe('name,email\nNobody,\n')
    expect(filtered.stderr).toContain('4 addresses, 2 suppressed, 1 without an address')
    expect((await world.cli('suppressions', 'filter', list, '--suppressed', '--unreadable', unreadable)).stdout).toBe(
      'name,email\n"Mia, M.",MIA@example.org\nTom,tom@example.org\n',
    )
    expect(await world.cli('suppressions', 'filter', list, '--column', 'mail')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('"email"'),
    })
    const text = await runCli(
      folder.path,
      world.env,
      ['suppressions', 'filter', '-'],
      'mia@example.org\nzoe@example.org\r\n\ntom@example.org',
    )
    expect(text.stdout).toBe('zoe@example.org\r\n')
    const counts = await runCli(folder.path, world.env, ['suppressions', 'filter', '-', '--json'], 'mia@example.org\nzoe@example.org\n')
    expect(JSON.parse(counts.stdout)).toEqual({ lines: 2, suppressed: 1, unreadable: 0 })

    expect((await world.cli('suppressions', 'remove', 'mia@example.org')).stdout).toBe('mia@example.org is no longer suppressed\n')
    expect((await world.cli('suppressions', 'remove', 'mia@example.org')).stdout).toBe('mia@example.org was not suppressed\n')
    expect((await world.cli('suppressions', 'check', 'mia@example.org')).stdout).toMatch(/not suppressed\n.*suppressed +manual.*\n.*lifted/)
  })
})

test('a write of another process is waited for, and that is said', { timeout: 60_000 }, async () => {
  const other = new Libsql((world.env.SOFTBOUNCE_DATABASE_URL as string).slice('file:'.length), { timeout: 100 })
  other.exec('begin immediate')
  setTimeout(() => other.exec('rollback'), 14_000)
  const added = await runCli(folder.path, world.env, ['suppressions', 'add', 'locked@example.org', '--for', '7d'])
  expect(added).toMatchObject({ status: 0, stdout: expect.stringContaining('locked@example.org is suppressed until') })
  expect(added.stderr).toBe('softbounce: another process is writing to the database; waiting for it, a minute at most\n')
  other.close()
  // exit status 1: suppressed
  const checked = await world.cli('suppressions', 'check', 'locked@example.org')
  expect(checked).toMatchObject({ status: 1, stderr: '' })
  expect(await world.cli('suppressions', 'remove', 'locked@example.org')).toMatchObject({ status: 0 })
  expect(await world.cli('suppressions', 'check', 'locked@example.org')).toMatchObject({ status: 0 })
})

test('suppressions are imported from a file', async () => {
  const file = join(folder.path, 'sendgrid.csv')
  writeFileSync(file, 'email,created,reason,status\nimported@example.org,1730000000,550 5.1.1 unknown,5.1.1\n')
  expect((await world.cli('suppressions', 'import', file, '--dry-run')).stdout).toBe(
    '1 rows: 1 would be suppressed, 0 suppressed already, 0 expired, 0 not suppressed there or only for a time, 0 without an address that can be read\n',
  )
  expect(jsonLines((await world.cli('suppressions', 'import', file, '--json')).stdout)).toEqual([
    { rows: 1, imported: 1, already: 0, expired: 0, notSuppressed: 0, unreadable: 0, dryRun: false },
  ])
  expect((await world.cli('suppressions', 'check', 'imported@example.org')).stdout).toContain('(rejected: 550 5.1.1 unknown)')
  expect(await world.cli('suppressions', 'import', file, '--reason', 'x')).toMatchObject({ status: 2 })
  expect(await world.cli('suppressions', 'import', file, '--until', '2020-01-01')).toMatchObject({ status: 2 })
})

test.each(['bash', 'zsh', 'fish'])('completion for %s names every command', async (shell) => {
  const { status, stdout } = await world.cli('completion', shell)
  expect(status).toBe(0)
  for (const name of ['suppressions', 'give-up', 'list-check', 'doctor']) expect(stdout).toContain(name)
  expect(await world.cli('completion', 'tcsh')).toMatchObject({ status: 2 })
})

test('migrate and config work', async () => {
  expect(await world.cli('migrate')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^file:\/.*softbounce\.db \(store [0-9a-f]{8}\) is up to date\n$/),
  })
  const shown = await world.cli('config', '--json')
  expect(jsonLines(shown.stdout)).toEqual(
    expect.arrayContaining([{ name: 'smtp.timeouts.connect', value: '2s', source: 'SOFTBOUNCE_SMTP_TIMEOUTS_CONNECT' }]),
  )
})

describe('errors are one line that says what to do', () => {
  test('wrong usage exits with status 2', async () => {
    for (const args of [
      ['nonsense'],
      ['retry'],
      ['now'],
      ['status', '--limit', 'x'],
      ['suppressions', 'check', 'nobody'],
      ['now', 'ann@example.org'],
      ['status', 'nobody'],
      ['retry', '--recipient', 'nobody', 'x.eml'],
      ['history', 'nobody'],
      ['retry', '--status', '999', 'x.eml'],
      ['suppressions', 'add', 'a@b.org', '--for', 'ever'],
    ])
      expect(await world.cli(...args), args.join(' ')).toMatchObject({ status: 2 })
    // so does a real process
    expect(await runCli(folder.path, world.env, ['nonsense'])).toMatchObject({ status: 2 })
    const wrong = await runCli(folder.path, { ...world.env, SOFTBOUNCE_RETRY_SCHEDULE: 'x', SOFTBOUNCE_LOG_LEVEL: 'y' }, ['worker'])
    expect(wrong.status).toBe(2)
    expect(wrong.stderr.trim().split('\n')).toHaveLength(2)
    const nowhere = await runCli(folder.path, { ...world.env, SOFTBOUNCE_ROUTES: yamlRoutes('') }, ['worker'])
    expect(nowhere).toMatchObject({ status: 2, stderr: expect.stringContaining('relay.url') })
  })

  test('a failure exits with status 1', async () => {
    const nobody = { TEMPORAL_ADDRESS: '127.0.0.1:9' }
    const run = (env: Record<string, string>, ...args: string[]) => runCli(folder.path, { ...world.env, ...env }, args)
    const [file, unknown, away, worker, namespace, database] = await Promise.all([
      run({}, 'retry', '/no/such/file.eml'),
      run({}, 'status', 'bounce/x@example.org/none'),
      run(nobody, 'status'),
      run(nobody, 'worker'),
      run({ TEMPORAL_NAMESPACE: 'nope' }, 'worker'),
      run({ SOFTBOUNCE_DATABASE_URL: 'postgres://x:planted-secret@127.0.0.1:9/d' }, 'suppressions', 'list'),
    ])
    expect(file).toMatchObject({ status: 1, stderr: expect.stringContaining('no such file') })
    expect(unknown).toMatchObject({ status: 1 })
    expect(away.status).toBe(1)
    expect(away.stderr.trim().split('\n')).toHaveLength(1)
    expect(away.stderr).toContain('127.0.0.1:9')
    expect(worker).toMatchObject({ status: 1, stderr: expect.stringContaining('127.0.0.1:9') })
    expect(namespace).toMatchObject({ status: 1, stderr: expect.stringMatching(/nope.*TEMPORAL_NAMESPACE/) })
    expect(database.status).toBe(1)
    expect(database.stderr).not.toContain('planted-secret')
  })

  test('help and version exit with status 0', async () => {
    expect(await runCli(folder.path, world.env, ['--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('give-up') })
    expect((await world.cli('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
