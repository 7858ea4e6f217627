/** The report as a page of the worker, in a real browser: who may read it, what it shows, and that it stays where its reader is. */
import { mkdirSync, readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { request } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { sql } from 'kysely'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveHttp } from '../../src/report/http-server.js'
import { makePage } from '../../src/report/live-page.js'
import { LiveReport } from '../../src/report/live-report.js'
import { Metrics } from '../../src/report/metrics.js'
import { destinationLink, usualWebUi, workflowLink } from '../../src/report/web-ui-links.js'
import { sqliteDatabase } from '../support/databases.js'
import { programPath, whyNot } from '../support/programs.js'
import { eventually } from '../support/skipping-time.js'

const HOUR_MS = 3_600_000
const EVIL = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'">"'&`
const TOKEN = 'a-token-of-0123456789'
const UI = { url: 'http://localhost:8233', namespace: 'default' }
/** Where pictures are written, if they are wanted. */
const PICTURES = process.env.TEST_PICTURES

type Sqlite = Awaited<ReturnType<typeof sqliteDatabase>>

/** A month of ten thousand destinations; some are down, some have hostile names and replies. */
async function seed({ database: { db } }: Sqlite) {
  const now = Date.now()
  const numbers = sql`(with recursive n(i) as (select 0 union all select i + 1 from n where i < 29999) select i from n) as n`
  const name = sql`case when n.i % 10000 = 7 then ${EVIL} else 'system' || (n.i % 10000) || '.example' end`
  await sql`insert into attempts (first_run_id, retry, workflow_id, message_id, recipient, destination, begun_at, sends, maybe_delivered, relayed, at, outcome, status, reply, stage, mail_server)
    select 'run' || n.i, 1 + n.i % 4, 'bounce/p' || n.i || '@example.org/m' || n.i, 'm' || n.i, 'p@example.org', ${name}, 0, 1, 0, 0,
      ${now} - n.i * 80000, case when n.i % 3 = 0 then 'accepted' else 'deferred' end, case when n.i % 3 = 0 then '2.0.0' else '4.3.2' end, ${EVIL}, 'banner', 'mx.example'
    from ${numbers}`.execute(db)
  await sql`insert into runs (first_run_id, workflow_id, sent_id, destination, status, bounced_at, started_at, message_key, ended_at)
    select 'run' || n.i, case when n.i = 29999 then ${`bounce/${EVIL}`} else 'bounce/p' || n.i || '@example.org/m' || n.i end, 's' || n.i, ${name}, '4.3.2',
      ${now - 3 * HOUR_MS} - n.i * 80000, ${now - 3 * HOUR_MS} - n.i * 80000, 'k', case when n.i % 3 = 0 then ${now} else null end
    from ${numbers}`.execute(db)
  await sql`insert into outages (destination, began_at, down_at, ended_at, refusals, status, reply, mail_server)
    select ${name}, ${now} - n.i * 80000, ${now} - n.i * 80000, case when n.i < 30 then null else ${now} end, 3, '4.3.2', ${EVIL}, 'mx.example'
    from ${numbers} where n.i < 10000`.execute(db)
  await sql`insert into destinations (name, next_start_at, reserved_until, overflow_until, rate, connections, service_ms, failures, failing_since, down_since, next_probe_at, not_before, epoch, starved_at, last_answer_reply)
    select ${name}, 0, 0, 0, 1, 1, 0, 3, ${now - 2 * HOUR_MS}, case when n.i < 30 then ${now - HOUR_MS} else null end, 0, 0, 0, 0, ${EVIL} from ${numbers} where n.i < 10000`.execute(
    db,
  )
}

async function serve(database: Sqlite, token: string | null, now?: () => Date): Promise<{ url: string; server: Server }> {
  const server = await serveHttp({
    ...{ port: 0, host: '127.0.0.1', token, databaseFault: async () => null, metrics: new Metrics() },
    state: () => ({ name: 'worker', is: 'RUNNING', good: true }),
    report: new LiveReport((request) => makePage(database.database, UI, request), now),
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe('who may read it', () => {
  let database: Sqlite
  beforeAll(async () => {
    database = await sqliteDatabase()
  })
  afterAll(() => database.close())

  /** fetch sets the header Host itself. */
  const ask = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number; text: string; headers: Record<string, unknown> }>((resolve, reject) => {
      request(url, { headers, method }, (response) => {
        let text = ''
        response.on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode as number, text, headers: response.headers }))
      })
        .on('error', reject)
        .end()
    })

  test('without a token: a browser on this machine, by its own name, and not through a proxy', async () => {
    const { url, server } = await serve(database, null)
    const { port } = new URL(url)
    expect((await ask(`${url}/report`)).status).toBe(200)
    expect((await ask(`${url}/report`, { host: `localhost:${port}` })).status).toBe(200)
    for (const headers of [
      { host: `rebound.example:${port}` },
      { 'x-forwarded-for': '192.0.2.1' },
      { forwarded: 'for=192.0.2.1' },
      { via: '1.1 proxy' },
      { 'x-real-ip': '192.0.2.1' },
    ]) {
      const answer = await ask(`${url}/report`, headers as unknown as Record<string, string>)
      expect(answer.status, JSON.stringify(headers)).toBe(403)
      expect(answer.text).toContain('http.token')
    }
    const embedded = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }
    expect(await ask(`${url}/report`, embedded)).toMatchObject({ status: 403, text: expect.stringContaining('other sites') })
    expect((await ask(`${url}/report`, { ...embedded, 'sec-fetch-mode': 'navigate' })).status).toBe(200)
    expect((await ask(`${url}/report`, { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' })).status).toBe(200)
    for (const wrong of ['destination=%00', 'since=2026-02-31', 'since=0001-01-01'])
      expect((await ask(`${url}/report?${wrong}`)).status, wrong).toBe(400)
    expect(await ask(`${url}/report`, {}, 'POST')).toMatchObject({ status: 405 })
    expect(await ask(`${url}/report?since=soon`)).toMatchObject({
      status: 400,
      text: expect.stringContaining('since: "soon" is not a duration'),
    })
    expect(await ask(`${url}/report?destination=${'a'.repeat(300)}`)).toMatchObject({ status: 400 })
    const { headers } = await ask(`${url}/report`)
    expect(headers['content-security-policy']).toMatch(
      /^default-src 'none';.* script-src 'self'; connect-src 'self'; frame-ancestors 'none'$/,
    )
    expect(headers['content-security-policy']).not.toContain("script-src 'unsafe-inline'")
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' })
    server.close()
  })

  test('with a token: requests that carry it as a bearer token, or as the password of a browser’s login', async () => {
    const { url, server } = await serve(database, TOKEN)
    for (const authorization of [`Bearer ${TOKEN}`, `Basic ${btoa(`ann:${TOKEN}`)}`, `basic ${btoa(`:${TOKEN}`)}`])
      expect((await ask(`${url}/report`, { authorization, host: 'mail.example.com' })).status, authorization).toBe(200)
    for (const authorization of ['', 'Bearer', `Bearer ${TOKEN}x`, `Basic ${btoa('ann:wrong')}`, `Basic ${TOKEN}`]) {
      const answer = await ask(`${url}/report`, { authorization })
      expect(answer.status, authorization).toBe(401)
      expect(answer.headers['www-authenticate']).toContain('Basic realm="softbounce"')
      expect(answer.text).not.toContain('html')
    }
    server.close()
  })

  test('pages are made one at a time, equal ones once, and a crowd is asked to come back', async () => {
    let [running, most, made] = [0, 0, 0]
    const server = await serveHttp({
      ...{ port: 0, host: '127.0.0.1', token: null, databaseFault: async () => null, metrics: new Metrics() },
      state: () => ({ name: 'worker', is: 'RUNNING', good: true }),
      report: new LiveReport(
        async () => {
          running += 1
          most = Math.max(most, running)
          await new Promise((resolve) => setTimeout(resolve, 50))
          running -= 1
          made += 1
          if (made === 2) throw new Error('the database is away')
          return 'page'
        },
        () => new Date(1_800_000_000_000),
      ),
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/report`
    const answers = await Promise.all(Array.from({ length: 9 }, (_, i) => ask(`${url}?since=${i + 1}d`)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 503, 503, 503, 503, 503])
    expect(most).toBe(1)
    const again = await Promise.all(['1d', '24h', '1440min'].map((since) => ask(`${url}?since=${since}`)))
    expect(again.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(made).toBe(5)
    // a failure is not kept
    expect((await ask(`${url}?since=2d`)).status).toBe(200)
    server.close()
  })

  test('a page is made at most once a minute', async () => {
    const time = { ms: Date.now() }
    const { url, server } = await serve(database, null, () => new Date(time.ms))
    const asOf = async () => /As of \d\d:\d\d/.exec((await ask(`${url}/report`)).text)?.[0]
    const first = await asOf()
    time.ms += 59_000
    expect(await asOf()).toBe(first)
    time.ms += 61_000
    expect(await asOf()).not.toBe(first)
    server.close()
  })
})

test('links lead to the usual Web UI, with each name as one value', () => {
  expect(
    ['127.0.0.1:7233', 'localhost:7233', undefined, '127.0.0.1:7933', 'db.example.com:7233', 'a.b.tmprl.cloud:7233'].map(usualWebUi),
  ).toEqual([
    ...[
      'http://localhost:8233',
      'http://localhost:8233',
      'http://localhost:8233',
      'http://localhost:8933',
      null,
      'https://cloud.temporal.io',
    ],
  ])
  expect(workflowLink(UI, 'bounce/ann@example.org/m1@example.com')).toBe(
    'http://localhost:8233/namespaces/default/workflows/bounce%2Fann%40example.org%2Fm1%40example.com',
  )
  expect(decodeURIComponent(destinationLink(UI, "o'neil.example"))).toContain("BounceDestination = 'o\\'neil.example' AND")
})

const reason = whyNot(['chromium'], false)
describe.skipIf(reason !== null)(`in a browser${reason === null ? '' : ` (${reason})`}`, () => {
  let database: Sqlite
  let browser: Browser
  let page: Page
  let served: Awaited<ReturnType<typeof serve>>
  const time = { ms: Date.now() }
  beforeAll(async () => {
    database = await sqliteDatabase()
    await seed(database)
    served = await serve(database, null, () => new Date(time.ms))
    browser = await chromium.launch({ executablePath: programPath('chromium') as string, args: ['--no-sandbox', '--disable-gpu'] })
    page = await browser.newPage({ viewport: { width: 1000, height: 900 } })
    page.setDefaultTimeout(30_000)
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    served?.server.close()
    await database?.close()
  })
  const picture = async (name: string) => {
    if (PICTURES === undefined) return
    mkdirSync(PICTURES, { recursive: true })
    await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: false })
  }

  test('it shows what is down and waits, links into the Web UI, and no stranger’s text becomes markup', { timeout: 120_000 }, async () => {
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(error.message))
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    await page.goto(`${served.url}/report`)
    await page.waitForLoadState('load')
    expect(await page.title()).toMatch(/^softbounce report/)
    expect(await page.locator('main > section').first().locator('h2').textContent()).toBe('Now')
    const now = await page.locator('main > section').first().textContent()
    expect(now).toContain('10,000 destinations are down, failing or paused; the retries of 20,000 messages go on.')
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(errors).toEqual([])
    const [own, link] = await page.locator('main section:first-child th a').evaluateAll((all) => all.map((one) => one.getAttribute('href')))
    expect(own).toMatch(/^\/report\?since=30d&destination=/)
    expect(link).toMatch(/^http:\/\/localhost:8233\/namespaces\/default\/workflows\?query=BounceDestination/)
    await page.locator('summary', { hasText: 'that bounced first' }).click()
    const evil = page.locator('details[open] a').first()
    expect(await evil.textContent()).toBe(`bounce/${EVIL}`)
    expect(await evil.getAttribute('href')).toBe(workflowLink(UI, `bounce/${EVIL}`))
    await picture('light')
  })

  test.each(['light', 'dark'] as const)('axe finds nothing, %s', { timeout: 120_000 }, async (colorScheme) => {
    await page.emulateMedia({ colorScheme })
    await page.goto(`${served.url}/report`)
    for (const details of await page.locator('details').all()) await details.evaluate((one) => one.setAttribute('open', ''))
    await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
    const { violations } = await page.evaluate<{ violations: { id: string; nodes: { html: string }[] }[] }>('axe.run()')
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`)).toEqual([])
    await picture(colorScheme)
    await page.emulateMedia({ colorScheme: 'light' })
  })

  test('on a phone of 390 px nothing but tables scrolls sideways', { timeout: 60_000 }, async () => {
    await page.setViewportSize({ width: 390, height: 844 })
    await page.goto(`${served.url}/report`)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390)
    await picture('phone')
    await page.setViewportSize({ width: 1000, height: 900 })
  })

  test('by keyboard: sort a table, open a part, follow to one destination and to another time', { timeout: 60_000 }, async () => {
    await page.goto(`${served.url}/report`)
    await page.locator('table.sorts th button').nth(1).focus()
    await page.keyboard.press('Enter')
    expect(await page.locator('table.sorts th').nth(1).getAttribute('aria-sort')).toBe('descending')
    const attempts = await page
      .locator('table.sorts tbody tr td:nth-child(2)')
      .evaluateAll((all) => all.map((one) => Number(one.getAttribute('data-value'))))
    expect(attempts).toEqual([...attempts].sort((a, b) => b - a))
    await page.locator('table.sorts tbody th a').first().focus()
    await page.keyboard.press('Enter')
    await page.waitForURL(/destination=/)
    expect(await page.locator('h1').textContent()).toMatch(/^softbounce report of /)
    await page.locator('nav a', { hasText: '7d' }).focus()
    await page.keyboard.press('Enter')
    await page.waitForURL(/since=7d&destination=/)
    expect(await page.locator('nav b').textContent()).toBe('7d')
    await page.locator('nav a', { hasText: 'all destinations' }).click()
    await page.waitForURL(/since=7d$/)
  })

  test('it reads itself anew, and the reader’s place, order, open parts and focus stay', { timeout: 60_000 }, async () => {
    await page.addInitScript(() => {
      const every = globalThis.setInterval
      globalThis.setInterval = ((call: () => void) => every(call, 500)) as typeof setInterval
    })
    await page.goto(`${served.url}/report`)
    await page.locator('table.sorts th button').nth(4).click()
    const summary = page.locator('summary', { hasText: 'By mail server' })
    await summary.click()
    await summary.focus()
    await page.evaluate('scrollTo(0, 700)')
    const before = await page.locator('#as-of').textContent()
    time.ms += 61_000
    await sql`update destinations set down_since = null, failing_since = null where name <> ${EVIL}`.execute(database.database.db)
    await eventually(async () => (await page.locator('#as-of').textContent()) !== before)
    expect(await page.locator('main > section').first().textContent()).toContain('1 destination is down')
    expect(await page.locator('table.sorts th').nth(4).getAttribute('aria-sort')).not.toBeNull()
    expect(await page.locator('details', { has: summary }).getAttribute('open')).not.toBeNull()
    expect(await page.evaluate('document.activeElement?.textContent')).toBe('By mail server')
    expect(Math.abs(Number(await page.evaluate('scrollY')) - 700)).toBeLessThan(5)
    served.server.close()
    served.server.closeAllConnections()
    await eventually(async () => (await page.locator('#as-of').textContent())?.includes('does not answer'))
    served = await serve(database, null)
  })

  test('without JavaScript it is complete', { timeout: 60_000 }, async () => {
    const context = await browser.newContext({ javaScriptEnabled: false })
    const plain = await context.newPage()
    await plain.goto(`${served.url}/report`)
    expect(await plain.locator('main section').count()).toBeGreaterThan(4)
    await plain.locator('summary').first().click()
    await plain.locator('nav a', { hasText: '1d' }).click()
    await plain.waitForURL(/since=1d/)
    await context.close()
  })
})
