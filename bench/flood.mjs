// Floods of reports: what they cost, and how long authenticated bounces take meanwhile.
// One LMTP mail for many recipients; forged bounces to return paths that look real (a joe-job); webhooks of messages that were delivered; a
// mailbox that nobody has read for long (where Dovecot is installed).
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Client, Connection } from '@temporalio/client'
import { readSettings } from '../dist/config/config.js'
import { dayOf, sentId, signReturnPath } from '../dist/delivery/index.js'
import { migrateToLatest, openDatabase, storeSent } from '../dist/store/index.js'
import { freePort, startDevServer } from '../dist-dev/dev-server/index.js'
import { openHttp, openLine, SECRET } from './support/flood-clients.mjs'
import { bounceOf, lmtp, startIntake } from './support/intake.mjs'
import { fillMailbox, startMailbox } from './support/mailbox.mjs'
import { startPostgres } from './support/postgres.mjs'

const FORGED = Number(process.env.BENCH_FLOOD_FORGED ?? 50_000)
const WEBHOOK_SECONDS = Number(process.env.BENCH_FLOOD_SECONDS ?? 20)
const WEBHOOK_RATE = Number(process.env.BENCH_FLOOD_RATE ?? 2_000)
const MAILBOX = Number(process.env.BENCH_FLOOD_MAILBOX ?? 10_000)
const RECIPIENTS = 1_000
const GENUINE_EVERY_MS = 250
const GENUINE_IN_QUIET = 40
const KEY = Buffer.alloc(32, 7).toString('base64')
const FLOODER = fileURLToPath(new URL('support/flooder.mjs', import.meta.url))

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN
const seconds = (since) => (performance.now() - since) / 1000

export async function flood() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const postgres = process.env.BENCH_DATABASE === 'postgres' ? await startPostgres() : null
  const file = join(folder, 'softbounce.db')
  const url = postgres?.url ?? `file:${file}`
  const server = await startDevServer()
  const connection = await Connection.connect({ address: server.address })
  const temporal = new Client({ connection })
  const database = openDatabase({ url })
  await migrateToLatest(database)
  const httpPort = await freePort()
  const env = {
    ...{ TEMPORAL_ADDRESS: server.address, TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'), SOFTBOUNCE_DATABASE_URL: url },
    ...{ SOFTBOUNCE_RETURN_PATH_KEYS: KEY, SOFTBOUNCE_INTAKE_LISTEN: '127.0.0.1:0', SOFTBOUNCE_LOG_LEVEL: 'error' },
    ...{ SOFTBOUNCE_HTTP_PORT: String(httpPort), SOFTBOUNCE_PROVIDERS_POSTMARK_WEBHOOK_SECRET: SECRET },
    ...{ SOFTBOUNCE_INTAKE_MAX_REPORTS: '20000' },
  }
  const { returnPaths } = readSettings(env)
  let n = 0
  /** Messages that were sent: what genuine bounces are about. */
  const sent = async (count) => {
    const list = []
    for (let i = 0; i < count; i += 1) {
      n += 1
      const [messageId, recipient] = [`f${n}@example.com`, `f${n}@example.org`]
      const id = sentId(messageId, recipient)
      const row = { id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }
      await storeSent(
        database,
        Buffer.from(`From: shop@example.com\r\nMessage-ID: <${messageId}>\r\n\r\nThank you.\r\n`),
        [row],
        new Date(),
      )
      const to = signReturnPath(returnPaths, { id, day: dayOf(new Date()), send: 0 }, 'shop@example.com')
      list.push({
        to,
        recipient,
        token: /\+([a-z2-7]+)@/.exec(to)[1],
        mail: bounceOf(n, to),
        workflowId: `bounce/${recipient}/${messageId}`,
      })
    }
    return list
  }
  const rows = []
  const add = (what, figures) => rows.push({ what, ...figures })
  const intake = await startIntake({ ...env, SOFTBOUNCE_LOG_LEVEL: 'info' })
  let mostMib = 0
  const watching = setInterval(() => {
    mostMib = Math.max(mostMib, intake.memory())
  }, 200)
  try {
    // 1. one mail, many recipients
    const many = await sent(RECIPIENTS)
    const line = await openLine(intake.port)
    const began = performance.now()
    const accepted = await line.deliverToAll(
      many.map(({ to }) => to),
      many[0].mail,
    )
    add(`one LMTP mail for ${RECIPIENTS} recipients`, { seconds: seconds(began).toFixed(1), note: `${accepted} accepted` })
    line.close()

    // 2. the joe-job
    const genuineByLmtp = await openLmtp(intake.port)
    const quietOnes = await sent(GENUINE_IN_QUIET)
    const quiet = []
    for (const one of quietOnes) {
      quiet.push(await timed(() => genuineByLmtp.deliver(one.to, one.mail)))
      await sleep(GENUINE_EVERY_MS / 5)
    }
    mostMib = 0
    const pool = await sent(Math.ceil(FORGED / 250) + 100)
    const meanwhile = []
    let isOver = false
    const forged = runFlooder({ kind: 'lmtp', port: intake.port, count: FORGED }).finally(() => {
      isOver = true
    })
    await sleep(1000)
    while (!isOver && pool.length > 0) {
      const one = pool.pop()
      meanwhile.push(await timed(() => genuineByLmtp.deliver(one.to, one.mail)))
      await sleep(GENUINE_EVERY_MS)
    }
    const { perSecond, lasted } = await forged
    genuineByLmtp.close()
    const { kept } = await database.db
      .selectFrom('inbound')
      .select(({ fn }) => fn.countAll().as('kept'))
      .executeTakeFirstOrThrow()
    add(`${FORGED} forged bounces by LMTP`, {
      ...{ seconds: lasted.toFixed(0), 'a second': Math.round(perSecond), 'most memory, MiB': mostMib },
      ...{ 'genuine quiet, ms': median(quiet).toFixed(0), 'genuine meanwhile, ms': median(meanwhile).toFixed(0) },
      ...{
        times: (median(meanwhile) / median(quiet)).toFixed(2),
        note: `${kept} reports kept of at most 20000 and those acted on${diskOf(postgres === null ? file : null)}`,
      },
    })

    // 3. webhooks
    const genuineHttp = await openHttp(httpPort)
    const byHook = async (list, everyMs) => {
      for (const one of list) {
        one.postedAt = Date.now()
        await genuineHttp.post(bounceRecord(one))
        await sleep(everyMs)
      }
    }
    const startedAfter = async (list) => {
      const ms = []
      for (const { workflowId, postedAt } of list)
        for (let look = 0; look < 100; look += 1)
          try {
            ms.push((await temporal.workflow.getHandle(workflowId).describe()).startTime.getTime() - postedAt)
            break
          } catch {
            await sleep(100)
          }
      return ms
    }
    const calm = await sent(GENUINE_IN_QUIET)
    await byHook(calm, GENUINE_EVERY_MS / 5)
    const calmMs = await startedAfter(calm)
    mostMib = 0
    const during = await sent(Math.floor((WEBHOOK_SECONDS * 1000) / GENUINE_EVERY_MS) - 6)
    const burst = runFlooder({ kind: 'http', port: httpPort, rate: WEBHOOK_RATE, lasts: WEBHOOK_SECONDS })
    await sleep(1000)
    await byHook(during, GENUINE_EVERY_MS)
    const statuses = new Map((await burst).statuses)
    const duringMs = await startedAfter(during)
    const waiting = async () =>
      Number(
        (
          await database.db
            .selectFrom('inbox')
            .select(({ fn }) => fn.countAll().as('n'))
            .where('done_at', 'is', null)
            .executeTakeFirstOrThrow()
        ).n,
      )
    const left = await waiting()
    const since = performance.now()
    while ((await waiting()) > 0) await sleep(500)
    add(`webhooks, ${WEBHOOK_RATE} a second for ${WEBHOOK_SECONDS} s`, {
      ...{ seconds: WEBHOOK_SECONDS, 'a second': Math.round((statuses.get(200) ?? 0) / WEBHOOK_SECONDS), 'most memory, MiB': mostMib },
      ...{
        'genuine quiet, ms': median(calmMs),
        'genuine meanwhile, ms': median(duringMs),
        times: (median(duringMs) / median(calmMs)).toFixed(2),
      },
      note: `${[...statuses].map(([status, count]) => `${count} got ${status}`).join(', ')}; ${left} waited at its end, and ${seconds(since).toFixed(0)} s more`,
    })
  } finally {
    clearInterval(watching)
    await intake.stop()
  }

  // 4. a mailbox
  const mailbox = await startMailbox(folder)
  if (mailbox === null) add('a mailbox', { note: 'Dovecot is not installed' })
  else {
    const genuine = await sent(1)
    await fillMailbox(mailbox, MAILBOX, genuine[0])
    const began = performance.now()
    const reader = await startIntake(
      {
        ...env,
        SOFTBOUNCE_INTAKE_LISTEN: '',
        SOFTBOUNCE_HTTP_PORT: '',
        SOFTBOUNCE_PROVIDERS_POSTMARK_WEBHOOK_SECRET: '',
        SOFTBOUNCE_LOG_LEVEL: 'info',
        SOFTBOUNCE_INTAKE_IMAP_URL: mailbox.url,
      },
      ['--imap'],
    )
    let most = 0
    for (;;) {
      most = Math.max(most, reader.memory())
      if (
        await temporal.workflow
          .getHandle(genuine[0].workflowId)
          .describe()
          .then(
            () => true,
            () => false,
          )
      )
        break
      await sleep(200)
    }
    const took = seconds(began)
    add(`a mailbox of ${MAILBOX} mails`, {
      seconds: took.toFixed(0),
      'a second': Math.round(MAILBOX / took),
      'most memory, MiB': most,
      note: 'the genuine bounce is the last',
    })
    await reader.stop()
    await mailbox.stop()
  }
  await database.close()
  await connection.close()
  await server.stop()
  await postgres?.remove()
  rmSync(folder, { recursive: true, force: true })
  return rows
}

const diskOf = (file) =>
  file === null ? '' : `; the database has ${Math.round((statSync(file).size + statSync(`${file}-wal`).size) / 2 ** 20)} MiB`

/** The flood, in a process of its own. */
async function runFlooder(order) {
  const { stdout } = await promisify(execFile)(process.execPath, [FLOODER, JSON.stringify(order)])
  return JSON.parse(stdout)
}

async function timed(step) {
  const began = performance.now()
  await step()
  return performance.now() - began
}

async function openLmtp(port) {
  const line = lmtp(port)
  await line.open()
  return line
}

const bounceRecord = ({ recipient, token }) =>
  JSON.stringify({
    RecordType: 'Bounce',
    Type: 'SoftBounce',
    Email: recipient,
    Details: 'smtp;421 4.3.2 System not accepting network messages',
    BouncedAt: new Date().toISOString(),
    Metadata: { softbounce: token },
  })
