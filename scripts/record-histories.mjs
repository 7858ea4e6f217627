// Records a history of each outcome with the current workflow, as test/histories/<version>-<outcome>.json. Run it once for each
// released version, before its workflow changes: later versions must replay them.
//   npm run build && node scripts/record-histories.mjs

import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { SMTPServer } from 'smtp-server'
import { routes } from '../bench/support/routes.mjs'
import { encodeToken } from '../dist/bounce/index.js'
import { findProgram, startDevServer, TEMPORAL_CLI } from '../dist-dev/dev-server/index.js'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const { version } = JSON.parse(readFileSync(here('../package.json'), 'utf8'))
const NOT_NOW = '421 4.3.2 System not accepting network messages'
const nonRetryable = (reply) => Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) })

/** An SMTP server; `say` returns replies to the banner, RCPT and the message, by connection number. */
async function system(say) {
  let connections = 0
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    hideENHANCEDSTATUSCODES: true,
    onConnect: (_session, done) => {
      connections += 1
      const reply = say.banner?.(connections)
      done(reply ? nonRetryable(reply) : null)
    },
    onRcptTo: (_address, _session, done) => {
      const reply = say.rcpt?.(connections)
      done(reply ? nonRetryable(reply) : null)
    },
    onData: (stream, _session, done) => {
      stream.on('end', () => {
        const reply = say.message?.(connections)
        done(reply ? nonRetryable(reply) : null, '2.0.0 Ok')
      })
      stream.resume()
    },
  })
  server.on('error', () => {})
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

const down = { banner: () => NOT_NOW }
const back = { banner: (n) => (n <= 2 ? NOT_NOW : undefined) }
const open = {}
const now = () => new Date().toISOString()
const until = async (handle, state) => {
  while ((await handle.query('progress')).state !== state) await new Promise((resolve) => setTimeout(resolve, 100))
}

/** A well-formed token with a zero MAC: the workflow decodes it but does not verify it. */
const token = (send) => encodeToken({ id: '0123456789abcdef0123', day: 20_782, send }, new Uint8Array(10))

const WEBHOOK = {
  SOFTBOUNCE_EVENTS_WEBHOOK_URL: 'http://127.0.0.1:9/',
  SOFTBOUNCE_EVENTS_WEBHOOK_SECRET: `whsec_${Buffer.from('of no worth at all').toString('base64')}`,
}
/** Name, server replies, whether the server is a relay, extra input, actions during the run, and settings. */
const CASES = [
  ['suppressed', down, false, {}],
  ['delivered', back, false, {}],
  ['rejected-for-good', { rcpt: () => '550 5.1.1 no such user' }, false, {}],
  ['rejected-message', { message: () => '550 5.7.1 policy' }, false, {}],
  ['expired', down, false, { schedule: ['1s', '1h'], deliverBy: new Date(Date.now() + 12_000).toISOString() }],
  [
    'cancelled',
    down,
    false,
    { schedule: ['1s', '1h'] },
    async (handle) => {
      await new Promise((resolve) => setTimeout(resolve, 2500))
      await handle.cancel()
    },
  ],
  [
    'hurried-then-given-up',
    down,
    false,
    { schedule: ['1h', '1h'] },
    async (handle) => {
      await until(handle, 'waiting')
      await handle.signal('retryNow', { retry: 1 })
      await new Promise((resolve) => setTimeout(resolve, 1500))
      await handle.signal('giveUp')
    },
  ],
  [
    'late-notice-rejects',
    down,
    false,
    { schedule: ['1h'] },
    async (handle) => {
      await until(handle, 'waiting')
      await handle.signal('bouncedAgain', { status: '4.3.2', bouncedAt: now() })
      await handle.signal('bouncedAgain', { status: '5.1.1', bouncedAt: now(), diagnostic: '550 5.1.1 no such user' })
    },
  ],
  ['relay-unconfirmed', open, true, { schedule: ['1s'] }],
  [
    'relay-confirmed',
    open,
    true,
    { schedule: ['1s'] },
    async (handle) => {
      await until(handle, 'confirming')
      await handle.signal('bouncedAgain', { status: '2.0.0', bouncedAt: now(), action: 'delivered' })
    },
  ],
  [
    'relay-bounced-suppressed',
    open,
    true,
    { schedule: ['1s'] },
    async (handle) => {
      await until(handle, 'confirming')
      await handle.signal('bouncedAgain', { status: '4.3.2', bouncedAt: now(), diagnostic: NOT_NOW })
    },
  ],
  [
    'relay-token-suppressed',
    open,
    true,
    { schedule: ['1s'] },
    async (handle) => {
      await until(handle, 'confirming')
      // a bounce of an earlier send, then of this one
      for (const send of [0, 1])
        await handle.signal('bouncedAgain', { status: '4.3.2', bouncedAt: now(), diagnostic: NOT_NOW, token: token(send) })
    },
  ],
  // nothing listens at the webhook's URL: that must delay nothing
  ['urgent', back, false, { urgent: true }, undefined, WEBHOOK],
  [
    'backup',
    down,
    false,
    { urgent: { via: 'backup-relay' }, schedule: ['1s', '2s'] },
    undefined,
    { SOFTBOUNCE_RELAY_BACKUP_URL: 'smtp://127.0.0.1:9' },
  ],
  ['events', down, false, { urgent: true }, undefined, { ...WEBHOOK, SOFTBOUNCE_EVENTS_PUBLISH: 'bounce.retrying, bounce.suppressed' }],
  ['invalid', open, false, { sender: '' }],
  ['permanent-bounce', open, false, { bounce: { status: '5.7.1', bouncedAt: now() } }],
]

const folder = mkdtempSync(join(tmpdir(), 'softbounce-histories-'))
mkdirSync(here('../test/histories'), { recursive: true })
const cli = await findProgram(TEMPORAL_CLI, console.log)
const temporal = await startDevServer({ say: console.log })
const connection = await Connection.connect({ address: temporal.address })
const client = new Client({ connection })
const ended = []
try {
  // names on the command line select cases
  const wanted = process.argv.slice(2)
  for (const [name, say, relay, more, meanwhile, settings] of CASES.filter(([name]) => wanted.length === 0 || wanted.includes(name))) {
    const server = await system(say)
    const address = `127.0.0.1:${server.server.address().port}`
    const worker = spawn(process.execPath, [here('../dist/cli/main.js'), 'worker'], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        TEMPORAL_ADDRESS: temporal.address,
        SOFTBOUNCE_DATABASE_URL: `file:${join(folder, `${name}.db`)}`,
        SOFTBOUNCE_SMTP_EHLO_DOMAIN: 'softbounce.example.com',
        SOFTBOUNCE_RELAY_CONFIRM_WITHIN: '3s',
        ...settings,
        ...(relay
          ? { SOFTBOUNCE_RELAY_URL: `smtp://${address}`, SOFTBOUNCE_RELAY_TLS: 'off' }
          : { SOFTBOUNCE_ROUTES: routes({ '*': Number(address.split(':')[1]) }) }),
      },
      stdio: 'ignore',
    })
    ended.push(() => worker.kill('SIGKILL'))
    const workflowId = `bounce/ann@example.org/${name}@example.com`
    const handle = await client.workflow.start('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId,
      args: [
        {
          messageId: `${name}@example.com`,
          sender: 'bounces@example.com',
          recipient: 'ann@example.org',
          message: { raw: 'From: shop@example.com\r\n\r\nThank you.\r\n' },
          bounce: { status: '4.3.2', bouncedAt: now(), diagnostic: NOT_NOW },
          schedule: ['1s', '2s', '2s', '2s'],
          ...more,
        },
      ],
      staticSummary: '4.3.2 for ann@example.org',
    })
    await meanwhile?.(handle)
    const outcome = await handle.result().then(
      (result) => result.outcome,
      (error) => error.cause?.type ?? error.message,
    )
    save(name, workflowId)
    console.log(`${name}: ${outcome}, ${(await handle.fetchHistory()).events.length} events`)
    worker.kill('SIGKILL')
    await new Promise((resolve) => server.close(resolve))
  }
  if (wanted.length === 0 || wanted.includes('release')) {
    const env = { PATH: process.env.PATH, HOME: folder, TEMPORAL_ADDRESS: temporal.address, SOFTBOUNCE_ROUTES: routes({ '*': 9 }) }
    const worker = spawn(process.execPath, [here('../dist/cli/main.js'), 'worker'], { cwd: folder, env, stdio: 'ignore' })
    ended.push(() => worker.kill('SIGKILL'))
    const workflowId = 'release/example.org'
    const args = [{ destination: 'example.org', withinMs: 1000, by: 'operator ann' }]
    const handle = await client.workflow.start('releaseDestination', { taskQueue: 'softbounce', workflowId, args })
    console.log('release:', await handle.result())
    save('release', workflowId)
  }
} finally {
  for (const end of ended) end()
  await connection.close()
  await temporal.stop()
  rmSync(folder, { recursive: true, force: true })
}

/** Saves the history without the identity of the machine it was recorded on. */
function save(name, workflowId) {
  const show = ['workflow', 'show', '--address', temporal.address, '--workflow-id', workflowId, '--output', 'json']
  const json = execFileSync(cli, show, { encoding: 'utf8' })
    .replace(/"identity": "[^"]*"/g, '"identity": "worker"')
    .replace(/"\d+@[^"]*"/g, '"worker"')
    .replace(/"stackTrace": "(?:[^"\\]|\\.)*"/g, '"stackTrace": ""')
    .trim()
  writeFileSync(here(`../test/histories/${version}-${name}.json`), `${json}\n`)
}
