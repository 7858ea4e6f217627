/** Temporal's Web UI in a real browser: each retry's state is readable, and a signal sends a retry. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DevServer, freePort, startDevServer } from '../../dev/dev-server/index.js'
import { yamlRoutes } from '../support/config.js'
import { programPath, whyNot } from '../support/programs.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const SCREENSHOTS = process.env.SCREENSHOTS ?? fileURLToPath(new URL('../../screenshots', import.meta.url))
const reason = whyNot(['chromium'], false)

// the tests depend on each other, in this order: a pause persists
describe.skipIf(reason !== null)(`the Web UI${reason === null ? '' : ` (${reason})`}`, { shuffle: false }, () => {
  let server: DevServer
  let world: RealWorld
  let system: ReceivingSystem
  let relay: ReceivingSystem | undefined
  let relayPort: number
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true })
    server = await startDevServer({ webUi: true })
    system = await startReceivingSystem()
    relayPort = await freePort()
    world = await startRealWorld(
      {
        SOFTBOUNCE_ROUTES: yamlRoutes(`ui.example=127.0.0.1:${system.port}`),
        SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relayPort}`,
        SOFTBOUNCE_RELAY_CONFIRM_WITHIN: '5d',
      },
      undefined,
      server.address,
    )
    await world.startWorker()
    // --no-sandbox: the tests may run as root
    browser = await chromium.launch({ executablePath: programPath('chromium') as string, args: ['--no-sandbox', '--disable-gpu'] })
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    page.setDefaultTimeout(30_000)
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
    for (const one of [system, relay]) await one?.close()
    await server?.stop()
  })

  const retry = (recipient: string, schedule = ['30d', '30d'], more: object = {}) =>
    world.client.retry(
      `From: shop@example.com\r\nMessage-ID: <4711@example.com>\r\n\r\nhello\r\n`,
      { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
      { schedule, ...more },
    )
  const list = (query: string) => `${server.webUi}/namespaces/${world.namespace}/workflows?query=${encodeURIComponent(query)}`
  const shown = (workflowId: string, tab: string) =>
    `${server.webUi}/namespaces/${world.namespace}/workflows/${encodeURIComponent(workflowId)}/${runs.get(workflowId)}/${tab}`
  const runs = new Map<string, string>()
  const known = async (workflowId: string) => {
    const { runId } = await world.temporal.workflow.getHandle(workflowId).describe()
    runs.set(workflowId, runId)
    return workflowId
  }
  /** Waits for the text, also in the frames in which the Web UI renders Markdown. */
  const sees = (text: RegExp) =>
    eventually(async () => {
      for (const frame of page.frames())
        if (
          (await frame
            .getByText(text)
            .count()
            .catch(() => 0)) > 0
        )
          return true
      return false
    }, 30_000)
  /** Waits for the text and takes a screenshot. */
  const reads = async (text: RegExp, picture: string) => {
    await sees(text)
    await page.screenshot({ path: join(SCREENSHOTS, `${picture}.png`) })
  }

  test('the list filters by destination and outcome; a retry shows its state; the retryNow signal sends it', {
    timeout: 120_000,
  }, async () => {
    const sent = () => system.taken.filter(({ to }) => to[0] === 'ann@ui.example').length
    const ann = await known((await retry('ann@ui.example')).workflowId)
    await retry('bob@elsewhere.example')
    await eventually(async () => (await world.temporal.workflow.count(`BounceRecipient = 'ann@ui.example'`)).count === 1, 30_000)
    await page.goto(list(`BounceDestination = 'ui.example'`))
    await page.getByText(ann).first().waitFor()
    expect(await page.getByText('bob@elsewhere.example').count()).toBe(0)
    await page.screenshot({ path: join(SCREENSHOTS, 'list.png') })
    await page.getByText(ann).first().click()
    await page.getByRole('tab', { name: 'User Metadata' }).click()
    await sees(/retry 1 of 2 waits/)
    await sees(/To ann@ui\.example at ui\.example\. Retry 1, 30 d after the bounce/)
    await reads(/Next:/, 'waiting')
    // sends the signal by mouse
    await page.getByRole('button', { name: 'More Actions' }).click()
    await page.getByRole('menuitem', { name: 'Send a Signal' }).click()
    await page.getByTestId('signal-select-button').and(page.locator(':visible')).first().click()
    await page.getByRole('option', { name: 'retryNow' }).and(page.locator(':visible')).first().click()
    await page.screenshot({ path: join(SCREENSHOTS, 'retry-now.png') })
    await page.getByRole('button', { name: 'Submit' }).and(page.locator(':visible')).first().click()
    await eventually(() => sent() === 1, 30_000)
    await page.goto(shown(ann, 'user-metadata'))
    await reads(/The receiving system accepted it at/, 'delivered')
    await sees(/250 2\.0\.0 Ok/)
    const delivered = `BounceOutcome = 'delivered' AND BounceRecipient = 'ann@ui.example'`
    await eventually(async () => (await world.temporal.workflow.count(delivered)).count === 1, 30_000)
    await page.goto(list(delivered))
    await page.getByText(ann).first().waitFor()
  })

  test('each state is readable: waiting for a permit, relay down, confirming, suppressed, cancelled, expired', {
    timeout: 240_000,
  }, async () => {
    // waits for its permit
    await world.client.destinations.pause('operator ann', 'ui.example')
    const turn = await known((await retry('turn@ui.example', ['1s', '30d'])).workflowId)
    await eventually(async () => (await world.client.getById(turn))?.trouble?.waiting === true, 30_000)
    await page.goto(shown(turn, 'user-metadata'))
    await reads(/retry 1 of 2 is being sent/, 'sending')
    await sees(/Pending Activities shows what it waits for/)
    await page.goto(shown(turn, 'pending-activities'))
    await reads(/retries for ui\.example are paused since .* by operator ann; none is used up/, 'waiting-for-a-turn')
    // the relay is down, and comes up
    const relayed = await known((await retry('relayed@elsewhere.example', ['1s', '30d'])).workflowId)
    await eventually(async () => (await world.client.getById(relayed))?.trouble !== null, 30_000)
    await page.goto(shown(relayed, 'pending-activities'))
    await reads(/refused the connection/, 'relay-down')
    relay = await startReceivingSystem({}, { port: relayPort })
    await eventually(async () => (await world.client.getById(relayed))?.progress?.state === 'confirming', 90_000)
    await page.goto(shown(relayed, 'user-metadata'))
    await reads(/the relay accepted retry 1 of 2; whether it arrives is not known yet/, 'waiting-for-confirmation')
    // ends
    const ended = async (who: string, end: (workflowId: string) => Promise<unknown>, more: object = {}) => {
      const { workflowId, result } = await retry(who, ['30d'], more)
      await eventually(async () => (await world.client.getById(workflowId))?.progress?.state === 'waiting', 30_000)
      await end(workflowId)
      await result().catch(() => {})
      return known(workflowId)
    }
    const suppressed = await ended('suppressed@ui.example', (workflowId) => world.client.giveUp({ workflowId }))
    await page.goto(shown(suppressed, 'user-metadata'))
    await reads(/^suppressed$/, 'suppressed')
    const cancelled = await ended('cancelled@ui.example', (workflowId) => world.client.cancel({ workflowId }))
    await page.goto(shown(cancelled, 'user-metadata'))
    await reads(/Nothing more is sent, and nobody is suppressed/, 'cancelled')
    const expired = await ended('expired@ui.example', async () => {}, { deliverBy: new Date(Date.now() + 4000).toISOString() })
    await page.goto(shown(expired, 'user-metadata'))
    await reads(/It was to be delivered by/, 'expired')
  })

  test('the server accepts the list queries of docs/how-to/steer-retries.md', async () => {
    const page = readFileSync(new URL('../../docs/how-to/steer-retries.md', import.meta.url), 'utf8')
    const queries = [...page.matchAll(/^\| [^|]+ \| `((?:WorkflowType|Bounce)[^`]+)` \|$/gm)].map(([, query]) => query as string)
    expect(queries.length).toBeGreaterThanOrEqual(6)
    for (const query of queries) expect((await world.temporal.workflow.count(query)).count, query).toBeGreaterThanOrEqual(0)
    await expect(world.temporal.workflow.count(`NoSuchName = 'x'`)).rejects.toThrow()
  })
})
