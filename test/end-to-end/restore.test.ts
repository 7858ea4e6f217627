/** The database is restored from a backup while workflows run: no mail is lost, and no answered retry is sent again. */
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, expect, test } from 'vitest'
import { SoftbounceClient } from '../../src/client/index.js'
import { readSettings } from '../../src/config/config.js'
import { openDatabase } from '../../src/store/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { startRealWorld } from '../support/real-time.js'
import { startReceivingSystem } from '../support/receiving-system.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

test('a database backup from before the retries loses no mail and resends nothing', { timeout: 180_000 }, async () => {
  const system = await startReceivingSystem()
  const folder = temporaryFolder()
  closers.push(system.close, folder.remove)
  const world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  closers.push(world.close)
  const bounce = (recipient: string) => ({
    ...{ sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
    diagnostic: '421 4.3.2 System not accepting network messages',
  })
  const standing = (workflowId: string) => world.temporal.workflow.getHandle(workflowId).query(progress)
  const worker = await world.startWorker()

  // `early` started before the backup and made its first retry after it; `late` started after it
  const early = await world.client.retry(MESSAGE, bounce('early@example.org'), { schedule: ['3s', '8s'] })
  await eventually(async () => (await standing(early.workflowId)).state === 'waiting')
  const backup = join(folder.path, 'backup.db')
  await sql`vacuum into ${backup}`.execute(world.database.db)
  system.say = { rcpt: () => '451 4.3.2 not now' }
  const late = await world.client.retry(MESSAGE.replace('m1@', 'm2@'), bounce('late@example.net'), { schedule: ['8s'] })
  await eventually(async () => (await standing(early.workflowId)).retry === 2, 30_000)
  system.say = {}
  await worker.stop()

  const url = `file:${backup}`
  const restored = openDatabase({ url: url })
  closers.push(() => restored.close())
  await world.startWorker({ SOFTBOUNCE_DATABASE_URL: url })
  expect(await early.result()).toMatchObject({ outcome: 'delivered', retries: 2, attempts: [{ retry: 1 }, { retry: 2 }] })

  // its message is missing: no retry is used up, and the Web UI shows what to do
  const pending = async () => (await world.temporal.workflow.getHandle(late.workflowId).describe()).raw.pendingActivities?.[0]
  await eventually(async () => (await pending())?.lastFailure?.message?.includes('the database has lost the message'), 60_000)
  const client = await SoftbounceClient.open(readSettings({}), { temporal: world.temporal, database: restored })
  closers.push(() => client.close())
  await client.retry(MESSAGE.replace('m1@', 'm2@'), bounce('late@example.net'))
  expect(await late.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  expect(system.taken.map(({ to }) => to[0]).sort()).toEqual(['early@example.org', 'late@example.net'])
})
