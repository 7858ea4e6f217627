/** The commands report, list-check, history and forget. */

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { retryBouncedMessage } from '../../src/workflows/index.js'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually, stands } from '../support/skipping-time.js'

const folder = temporaryFolder()
let world: RealWorld
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  await world.startWorker()
  await (await retry('ann@seen.example', ['1s', '30d'])).result()
  const { workflowId } = await retry('ann@seen.example', ['30d'], '2')
  await stands(world.temporal.workflow.getHandle<typeof retryBouncedMessage>(workflowId), 'waiting', 1)
})
afterAll(async () => {
  await world.close()
  await system.close()
  folder.remove()
})
const retry = (recipient: string, schedule: string[], n = '1') =>
  world.client.retry(
    `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <${n}.${recipient}@example.com>\r\n\r\nhello\r\n`,
    { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
    { schedule },
  )

// the tests depend on each other, in this order
describe('report, list-check, history and forget', { shuffle: false }, () => {
  test('report prints text and JSON, and writes an HTML file', { timeout: 120_000 }, async () => {
    const text = await world.cli('report', '--since', '1d')
    expect(text).toMatchObject({ status: 0, stderr: '' })
    expect(text.stdout).toMatch(/2 messages began to be retried, 1\s+retry answered/)
    expect(text.stdout).toMatch(/retry 1 +1 +1 +0 +0 +100 % +100 %/)
    expect(JSON.parse((await world.cli('report', '--format', 'json')).stdout)).toMatchObject({
      ...{ started: 2, ended: { delivered: 1 }, timeZone: 'UTC' },
      worst: [{ destination: 'seen.example', accepted: 1 }],
    })
    const file = join(folder.path, 'report.html')
    expect(await world.cli('report', '--format', 'html', '--output', file)).toMatchObject({ status: 0 })
    expect(readFileSync(file, 'utf8')).toContain('What each retry earns')
    for (const [args, said] of [
      [['--format', 'pdf'], 'it must be text, json or html'],
      [['--since', '2999-01-01'], 'is not a day before now'],
      [['--output', join(folder.path, 'no/such/file')], 'cannot be written'],
    ] as const)
      expect((await world.cli('report', ...args)).stderr).toContain(said)
  })

  test('list-check reads CSV, and writes CSV and counts', { timeout: 120_000 }, async () => {
    const list = join(folder.path, 'list.csv')
    writeFileSync(list, 'name,email\nAnn,ann@seen.example\nBob,bob@seen.example\n')
    await world.cli('suppressions', 'add', 'bob@seen.example')
    const output = join(folder.path, 'checked.csv')
    expect(await world.cli('list-check', list, '--output', output)).toMatchObject({
      ...{ status: 0, stdout: '', stderr: '2 addresses: 1 ok, 1 suppressed\n' },
    })
    expect(readFileSync(output, 'utf8').split('\n').slice(0, 3)).toEqual([
      'name,email,softbounce,softbounce_time,softbounce_why',
      'Ann,ann@seen.example,ok,,',
      'Bob,bob@seen.example,suppressed until,lifted,manual',
    ])
    expect(await world.cli('list-check', join(folder.path, 'none.csv'))).toMatchObject({
      ...{ status: 1, stderr: expect.stringContaining('none.csv cannot be read') },
    })
  })

  test('forget stops open retries and leaves nothing in the tables or in Temporal', {
    timeout: 180_000,
  }, async () => {
    const seen = (await world.cli('history', 'Ann@seen.example')).stdout
    expect(seen).toMatch(/retry 1: accepted +2\.\S+ +1\.ann@seen\.example@example\.com/)
    expect(seen).toMatch(/ended: delivered/)
    expect(await world.cli('forget', 'ann@seen.example')).toMatchObject({ status: 2, stderr: expect.stringContaining('say --yes') })
    const query = `WorkflowId STARTS_WITH 'bounce/ann@seen.example/'`
    await eventually(async () => (await world.temporal.workflow.count(query)).count === 2)
    const forgotten = await world.cli('forget', 'ann@seen.example', '--yes', '--json')
    expect(JSON.parse(forgotten.stdout)).toMatchObject({
      cancelled: 1,
      histories: 2,
      historiesLeft: null,
      tables: { attempts: 1, outcomes: 2 },
    })
    expect((await world.cli('history', 'ann@seen.example')).stdout).toBe('nothing is known of ann@seen.example\n')
    // nor in the file's free pages
    const file = (world.env.SOFTBOUNCE_DATABASE_URL as string).slice('file:'.length)
    const bytes = [file, `${file}-wal`].filter(existsSync).map((one) => readFileSync(one).toString('latin1'))
    expect(bytes.join('').includes('ann@seen.example')).toBe(false)
    // Temporal deletes asynchronously
    await eventually(async () => (await world.temporal.workflow.count(query)).count === 0, 120_000)
  })

  test('status --watch redraws until interrupted, and restores the terminal', { timeout: 120_000 }, async () => {
    expect(await world.cli('status', '--watch')).toMatchObject({ status: 2, stderr: expect.stringContaining('this is none') })
    await retry('watched@seen.example', ['30d'])
    const command = `exec ${process.execPath} ${fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))} status --watch`
    const child = spawn('script', ['-qefc', `stty cols 100 rows 20; ${command}`, '/dev/null'], {
      env: world.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let drawn = ''
    child.stdout.on('data', (chunk) => {
      drawn += chunk
    })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await eventually(() => (drawn.match(/watched@seen\.example\S* +retry 1 of 1 waits for /g)?.length ?? 0) >= 2, 30_000)
    expect(drawn).toMatch(/softbounce {2}\S+ \S+ UTC +0 wait for a permit +0 systems are down/)
    // Ctrl-C
    child.stdin.write('\u0003')
    expect(await ended).toBe(0)
    expect(drawn.endsWith('\u001b[?25h\u001b[?1049l')).toBe(true)
    for (const one of drawn.split('\u001b[H\u001b[J').slice(1)) expect(one.split('\r\n').length).toBeLessThanOrEqual(20)
  })
})
