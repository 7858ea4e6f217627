/** Promise 4 end to end: workers killed while they hold permits; slow and flapping destinations; pauses and releases by command. */
import { describe, expect, test } from 'vitest'
import { destinations, limitsOf, writeFeedback } from '../../src/throttle/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { closeAfterAll } from '../support/close-after.js'
import { yamlRoutes } from '../support/config.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { polite, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const LONG = 180_000
const SLOWLY = {
  SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '20/s',
  SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: '20/s',
  SOFTBOUNCE_THROTTLE_CONNECTION_LIMIT: '1',
  SOFTBOUNCE_THROTTLE_MAX_DELIVERIES_PER_CONNECTION: '5',
  SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '5',
}
const kept = closeAfterAll()

async function realWorld(env: Record<string, string>): Promise<RealWorld> {
  return kept(await startRealWorld({ ...SLOWLY, ...env }))
}
async function system(...args: Parameters<typeof startReceivingSystem>) {
  return kept(await startReceivingSystem(...args))
}
/** Starts `count` retries for the domain; resolves with their handles. */
const retries = (world: RealWorld, count: number, domain: string, schedule: string[]) =>
  Promise.all(
    Array.from({ length: count }, (_, i) =>
      world.client.retry(
        `From: shop@example.com\r\nMessage-ID: <${domain}-${i}@example.com>\r\n\r\nhello\r\n`,
        { sender: 'bounces@example.com', recipient: `p${i}@${domain}`, status: '4.3.2', bouncedAt: new Date().toISOString() },
        { schedule },
      ),
    ),
  )
const allWait = (world: RealWorld, started: Awaited<ReturnType<typeof retries>>, retry = 1) =>
  eventually(async () => {
    const standings = await Promise.all(started.map(({ workflowId }) => world.temporal.workflow.getHandle(workflowId).query(progress)))
    return standings.every((standing) => standing.state === 'waiting' && standing.retry === retry)
  }, 30_000)
const once = (taken: readonly { to: string[] }[]) => new Set(taken.map(({ to }) => to[0])).size === taken.length

describe.concurrent('promise 4', () => {
  test('a killed worker holds its connection for exactly as long as its lease', {
    timeout: LONG,
  }, async () => {
    let hang = true
    let open = 0
    let mostOpen = 0
    const script = await startScript((line, socket) => {
      if (line === '') {
        open += 1
        mostOpen = Math.max(mostOpen, open)
        socket.on('close', () => {
          open -= 1
        })
      }
      return line.startsWith('RCPT') && hang ? undefined : polite(line)
    })
    kept(script)
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`) })
    const killed = await world.startWorker()
    const [first] = await retries(world, 1, 'd.example', ['1s'])
    await eventually(() => script.heard.some((line) => line.startsWith('RCPT')))
    killed.signal('SIGKILL')
    const diedAt = Date.now()
    hang = false
    await world.startWorker()
    const [second] = await retries(world, 1, 'd.example', ['1s', '1h'])
    const ended = await Promise.all([first?.result(), second?.result()])
    expect(ended).toMatchObject([{ outcome: 'delivered' }, { outcome: 'delivered' }])
    // the lease counted although the connection was gone
    expect(Date.now() - diedAt).toBeGreaterThan(12_000)
    expect(mostOpen).toBe(1)
  })

  test('a tarpit gets one message at a time, and does not delay mail for others', { timeout: LONG }, async () => {
    const tarpit = await system({ server: { onRcptTo: (_address, _session, done) => void setTimeout(done, 1500) } })
    const well = await system()
    const world = await realWorld({
      SOFTBOUNCE_ROUTES: yamlRoutes(`tar.example=127.0.0.1:${tarpit.port}, *=127.0.0.1:${well.port}`),
      SOFTBOUNCE_WORKER_MAX_CONCURRENT_SENDS: '8',
    })
    await world.startWorker()
    const slow = await retries(world, 12, 'tar.example', ['1s', '1h'])
    await eventually(() => tarpit.mostOpen > 0)
    const began = Date.now()
    const others = await Promise.all((await retries(world, 5, 'well.example', ['1s', '1h'])).map(({ result }) => result()))
    expect(others.every(({ outcome }) => outcome === 'delivered')).toBe(true)
    expect(Date.now() - began).toBeLessThan(15_000)
    const ended = await Promise.all(slow.map(({ result }) => result()))
    expect(ended.every(({ outcome, retries: made }) => outcome === 'delivered' && made === 1)).toBe(true)
    expect(tarpit.mostOpen).toBe(1)
    expect(once(tarpit.taken)).toBe(true)
  })

  test('a destination that drops connections after the final dot goes down after a few attempts', {
    timeout: LONG,
  }, async () => {
    const script = await startScript((line) => (line === '.' ? null : polite(line)))
    kept(script)
    const world = await realWorld({
      SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`),
      SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '5/s',
    })
    await world.startWorker()
    await retries(world, 6, 'd.example', ['1s', '1h'])
    const standing = await eventually(async () => {
      const [row] = await destinations(world.database, 1, 'd.example')
      return row?.downSince != null && row
    }, 30_000)
    expect(standing).toMatchObject({ said: { status: '4.4.2' } })
    expect(script.connections).toBeLessThanOrEqual(6)
  })

  test('a release sends waiting retries early, once each even if interrupted and repeated; other destinations keep waiting', {
    timeout: LONG,
  }, async () => {
    const back = await system()
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${back.port}`) })
    await world.startWorker()
    const [waiting, others] = [
      await retries(world, 8, 'back.example', ['1h', '4h']),
      await retries(world, 2, 'other.example', ['1h', '4h']),
    ]
    await allWait(world, [...waiting, ...others])
    await eventually(async () => (await world.temporal.workflow.count("BounceDestination = 'back.example'")).count === 8)
    const started = await world.cli('release', 'back.example', '--within', '40s', '--detach')
    expect(started).toMatchObject({ status: 0, stdout: expect.stringContaining('release/back.example') })
    await eventually(() => back.taken.length >= 2, 30_000)
    expect(await world.cli('release', 'back.example', '--stop')).toMatchObject({ status: 0, stdout: expect.stringContaining('stops') })
    // a release notices at its next heartbeat that it was stopped; until then another one would join it
    const stopped = world.temporal.workflow.getHandle('release/back.example')
    await eventually(async () => (await stopped.describe()).status.name === 'CANCELLED', 30_000)
    // retries signalled before the interruption go, and no others
    let half = 0
    await eventually(async () => {
      half = back.taken.length
      await new Promise((resolve) => setTimeout(resolve, 4000))
      return back.taken.length === half
    }, 60_000)
    expect(half).toBeLessThan(8)
    // visibility is eventually consistent
    const open = "BounceDestination = 'back.example' AND ExecutionStatus = 'Running'"
    await eventually(async () => (await world.temporal.workflow.count(open)).count === 8 - half, 30_000)
    const again = await world.cli('release', 'back.example', '--within', '2s', '--json')
    expect(JSON.parse(again.stdout)).toMatchObject({ destination: 'back.example', released: 8 - half })
    for (const { result } of waiting) expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(back.taken).toHaveLength(8)
    expect(once(back.taken)).toBe(true)
    await allWait(world, others)
  })

  test('releaseWithin: the first acceptance after an outage releases waiting retries', {
    timeout: LONG,
  }, async () => {
    const back = await system()
    const world = await realWorld({
      SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${back.port}`),
      SOFTBOUNCE_THROTTLE_RELEASE_WITHIN: '3s',
    })
    await world.startWorker()
    const waiting = await retries(world, 6, 'back.example', ['1h', '4h'])
    await allWait(world, waiting)
    await eventually(async () => (await world.temporal.workflow.count("BounceDestination = 'back.example'")).count === 6)
    const limits = limitsOf({ minMessageRate: 20, maxMessageRate: 20, connections: 1, maxDeliveriesPerConnection: 5 })
    const settings = { limits, failuresBeforeDown: 1, probeIntervalMs: 1000, maxQueueDelayMs: 1000 }
    const answer = { outcome: 'deferred', status: '4.3.2', reply: NOT_NOW, stage: 'banner', mailServer: null } as const
    await writeFeedback(
      world.database,
      { name: 'back.example', limits, lesson: { kind: 'failing', slower: 'both', waitMs: 0 }, answer, tookMs: 5 },
      settings,
    )
    await world.client.retryNow({ workflowId: waiting[0]?.workflowId ?? '' })
    for (const { result } of waiting) expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(once(back.taken)).toBe(true)
  })

  test('recovery and resume wake waiting retries at once, without extra history events', {
    timeout: LONG,
  }, async () => {
    const back = await system()
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${back.port}`) })
    await world.startWorker()
    const limits = limitsOf({ minMessageRate: 20, maxMessageRate: 20, connections: 1, maxDeliveriesPerConnection: 5 })
    const settings = { limits, failuresBeforeDown: 1, probeIntervalMs: 20_000, maxQueueDelayMs: 1000 }
    const answer = { outcome: 'deferred', status: '4.3.2', reply: NOT_NOW, stage: 'banner', mailServer: null } as const
    const lesson = { kind: 'failing', slower: 'both', waitMs: 0 } as const
    await writeFeedback(world.database, { name: 'down.example', limits, lesson, answer, tookMs: 5 }, settings)
    await world.client.destinations.pause('operator', 'paused.example')
    const began = Date.now()
    const waiting = [
      ...(await retries(world, 10, 'down.example', ['1s', '1h'])),
      ...(await retries(world, 10, 'paused.example', ['1s', '1h'])),
    ]
    const turns = () => world.database.db.selectFrom('waiters').select('workflow_id').execute()
    await eventually(async () => (await turns()).length === 20, 30_000)
    // one retry probes within a minute; the others would poll again only after several
    await world.client.destinations.resume('paused.example')
    for (const { result } of waiting) expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(Date.now() - began).toBeLessThan(60_000)
    expect(once(back.taken)).toBe(true)
    const events = await Promise.all(
      waiting.map(async ({ workflowId }) => {
        const { events } = await world.temporal.workflow.getHandle(workflowId).fetchHistory()
        // the number of workflow tasks depends on the machine's speed
        return events?.filter((event) => !Object.keys(event).some((key) => key.startsWith('workflowTask') && event[key as 'eventId']))
          .length
      }),
    )
    expect(new Set(events).size).toBe(1)
  })

  test('the command shows, pauses, limits and resumes destinations', { timeout: LONG }, async () => {
    const well = await system()
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${well.port}`) })
    expect(await world.cli('destinations', 'd.example')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('d.example is not known'),
    })
    await world.startWorker()
    expect(await world.cli('pause')).toMatchObject({ status: 0, stdout: 'everything is paused; softbounce resume continues\n' })
    const [held] = await retries(world, 1, 'd.example', ['1s', '1h'])
    await eventually(async () => (await world.client.getById(held?.workflowId ?? ''))?.trouble?.text.includes('are paused since'), 30_000)
    const listed = JSON.parse((await world.cli('destinations', 'd.example', '--json')).stdout)
    expect(listed).toMatchObject({ name: 'd.example', everythingPausedBy: expect.stringContaining('operator') })
    // what the limiter keeps for itself is not shown
    expect(Object.keys(listed)).not.toContain('reservedUntil')
    expect((await world.cli('status')).stdout).toMatch(/bounce\/p0@d\.example\/\S+ +retry 1 of 2 is being sent; it waits: /)
    expect((await world.cli('destinations')).stdout).toMatch(
      /everything is paused since .* by operator .*\n.*\nd\.example +nothing known +.* 1 +1/,
    )
    expect(well.connections).toHaveLength(0)
    expect(await world.cli('resume')).toMatchObject({ stdout: expect.stringContaining('everything goes on') })
    expect(await world.cli('destinations', 'pause', 'D.example')).toMatchObject({ status: 0 })
    expect(await world.cli('destinations', 'resume', 'd.example')).toMatchObject({ stdout: expect.stringContaining('d.example goes on') })
    expect((await world.cli('destinations', 'limit', 'd.example', '--rate', '30/min', '--connections', '2')).stdout).toBe(
      'd.example: at most 30/min, at most 2 connections\n',
    )
    expect((await world.cli('destinations', 'd.example')).stdout).toMatch(/30\/min \(limited by hand\)/)
    expect((await world.cli('destinations', 'limit', 'd.example', '--rate', 'none', '--connections', 'none')).stdout).toBe(
      'd.example: as the settings say\n',
    )
    for (const [args, said] of [
      [['destinations', 'limit', 'd.example', '--rate', 'fast'], 'is not a rate'],
      [['release', 'd.example', '--within', 'soon'], 'is not a duration'],
    ] as const)
      expect(await world.cli(...args)).toMatchObject({ status: 2, stderr: expect.stringContaining(said) })
    expect((await world.cli('release', 'd.example', '--stop')).stdout).toBe('no release of d.example is under way\n')
  })
})
