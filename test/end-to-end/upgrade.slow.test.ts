/** Upgrades while retries are open: two versions side by side, rolling restarts, a migration under running workers. */
import { type Kysely, sql } from 'kysely'
import { afterEach, describe, expect, test } from 'vitest'
import type { Database } from '../../src/store/index.js'
import { migrateToLatest, migrations } from '../../src/store/migrations.js'
import { yamlRoutes } from '../support/config.js'
import { startPostgres, withoutPostgres } from '../support/databases.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const LONG = 120_000
const LIVES = 12
const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function begin(env: Record<string, string> = {}, databaseUrl?: string): Promise<{ world: RealWorld; system: ReceivingSystem }> {
  // each recipient is deferred the first time
  const met = new Set<string>()
  const system = await startReceivingSystem({
    rcpt: ({ address = '' }) => {
      if (met.has(address)) return undefined
      met.add(address)
      return '451 4.3.2 not now'
    },
  })
  closers.push(system.close)
  const world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), ...env }, databaseUrl)
  closers.push(world.close)
  return { world, system }
}

/** Starts retries that are deferred once, 2 s after the bounce, and accepted 3 s later. */
async function startLives(world: RealWorld) {
  const lives: Awaited<ReturnType<RealWorld['client']['retry']>>[] = []
  for (let i = 0; i < LIVES; i += 1)
    lives.push(
      await world.client.retry(
        MESSAGE.replace('m1@', `m${i}@`),
        {
          sender: 'bounces@example.com',
          recipient: `r${i}@example${i}.org`,
          status: '4.3.2',
          bouncedAt: new Date().toISOString(),
          diagnostic: NOT_NOW,
        },
        { schedule: ['2s', '3s', '1s'] },
      ),
    )
  return lives
}

/** Expects that each message was delivered once, by its second retry. */
async function expectWhole(lives: Awaited<ReturnType<typeof startLives>>, system: ReceivingSystem): Promise<void> {
  for (const { result } of lives) expect(await result()).toMatchObject({ outcome: 'delivered', retries: 2 })
  expect(system.taken.map(({ to }) => to[0]).sort()).toEqual(Array.from({ length: LIVES }, (_, i) => `r${i}@example${i}.org`).sort())
}

describe('worker versioning', () => {
  const version = (buildId: string) => ({ TEMPORAL_DEPLOYMENT_NAME: 'softbounce', TEMPORAL_WORKER_BUILD_ID: buildId })
  /** Like `temporal worker deployment set-current-version`; repeated, as a version becomes known only after its worker polls. */
  const makeCurrent = ({ temporal, namespace }: RealWorld, buildId: string) =>
    eventually(
      () =>
        temporal.workflowService.setWorkerDeploymentCurrentVersion({ namespace, deploymentName: 'softbounce', buildId }).catch(() => null),
      30_000,
    )
  const buildsOf = async ({ temporal }: RealWorld, workflowId: string) => {
    const { events } = await temporal.workflow.getHandle(workflowId).fetchHistory()
    return (events ?? []).flatMap((event) => event.workflowTaskCompletedEventAttributes?.deploymentVersion?.buildId ?? [])
  }

  test('a retry started by one version continues with the next, and is sent once', { timeout: LONG }, async () => {
    const { world, system } = await begin()
    const blue = await world.startWorker(version('0.4.0'))
    expect(blue.log()).toContain('"buildId":"0.4.0"')
    await world.startWorker(version('0.5.0'))
    await makeCurrent(world, '0.4.0')
    const lives = await startLives(world)
    const first = lives[0] as (typeof lives)[0]
    await eventually(async () => (await buildsOf(world, first.workflowId)).length > 0)
    await makeCurrent(world, '0.5.0')
    await expectWhole(lives, system)
    const builds = await Promise.all(lives.map(({ workflowId }) => buildsOf(world, workflowId)))
    expect(builds[0]?.[0]).toBe('0.4.0')
    for (const each of builds) expect(each.at(-1)).toBe('0.5.0')
    await blue.stop()
  })

  test('open retries of unversioned workers continue with the first version', { timeout: LONG }, async () => {
    const { world, system } = await begin()
    const before = await world.startWorker()
    const lives = await startLives(world)
    await world.startWorker(version('0.5.0'))
    await makeCurrent(world, '0.5.0')
    await before.stop()
    await expectWhole(lives, system)
  })
})

test('a rolling restart loses and duplicates nothing', { timeout: LONG }, async () => {
  const { world, system } = await begin({ SOFTBOUNCE_WORKER_SHUTDOWN_GRACE: '5s' })
  const workers = [await world.startWorker(), await world.startWorker()]
  const lives = await startLives(world)
  for (let round = 0; round < 2; round += 1)
    for (const i of workers.keys()) {
      const [old] = workers.splice(i, 1) as [WorkerProcess]
      await old.stop()
      expect(await old.ended).toBe(0)
      workers.splice(i, 0, await world.startWorker())
    }
  await expectWhole(lives, system)
})

/** A migration as of a next version: hot tables get a column, an index, and a new value in each row. */
async function migrateFurther(database: Database): Promise<string[]> {
  const next = {
    up: async (db: Kysely<unknown>) => {
      for (const table of ['sent_messages', 'attempts', 'waiters', 'destinations']) {
        await db.schema.alterTable(table).addColumn('noted', 'integer').execute()
        await sql`UPDATE ${sql.table(table)} SET noted = 1`.execute(db)
        await db.schema.createIndex(`${table}_noted`).on(table).column('noted').execute()
      }
    },
  }
  return await migrateToLatest(database, { ...migrations(database), '999_next': next })
}

describe('a migration under running workers', () => {
  async function migrateBeneath(databaseUrl?: string) {
    const { world, system } = await begin({}, databaseUrl)
    await world.startWorker()
    await world.startWorker()
    const lives = await startLives(world)
    await eventually(() => system.connections.length > 0)
    expect(await migrateFurther(world.database)).toEqual(['999_next'])
    await expectWhole(lives, system)
  }

  test('SQLite', { timeout: LONG }, () => migrateBeneath())

  test.skipIf(withoutPostgres !== null)(
    `PostgreSQL${withoutPostgres === null ? '' : ` (skipped: ${withoutPostgres})`}`,
    { timeout: LONG },
    async () => {
      const postgres = await startPostgres()
      closers.push(postgres.remove)
      await migrateBeneath(postgres.url)
    },
  )
})
