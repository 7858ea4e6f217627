/** A real Prometheus scrapes a running worker; the rules are valid; each dashboard panel queries existing metrics. */
import { execFile, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { programPath, whyNot } from '../support/programs.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const MONITORING = fileURLToPath(new URL('../../monitoring', import.meta.url))
const NOT_NOW = '421 4.3.2 System not accepting network messages'
const reason = whyNot(['prometheus', 'promtool'], false)
const run = promisify(execFile)

describe.skipIf(reason !== null)(`metrics${reason === null ? '' : ` (${reason})`}`, () => {
  const folder = temporaryFolder()
  let world: RealWorld
  let down: ReceivingSystem
  let well: ReceivingSystem
  let http: string
  let prometheus: { url: string; stop: () => Promise<void> }
  const query = async (expr: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> => {
    const response = await fetch(`${prometheus.url}/api/v1/query?query=${encodeURIComponent(expr)}`)
    const { status, data, error } = (await response.json()) as { status: string; data: { result: never[] }; error?: string }
    if (status !== 'success') throw new Error(`${expr}: ${error}`)
    return data.result
  }

  beforeAll(async () => {
    down = await startReceivingSystem({ banner: () => NOT_NOW })
    well = await startReceivingSystem()
    const port = await freePort()
    http = `127.0.0.1:${port}`
    world = await startRealWorld({
      SOFTBOUNCE_ROUTES: yamlRoutes(`down.example=127.0.0.1:${down.port}, *=127.0.0.1:${well.port}`),
      SOFTBOUNCE_HTTP_PORT: String(port),
      SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '2',
    })
    await world.startWorker()
    const retry = (recipient: string, schedule: string[]) =>
      world.client.retry(
        `From: shop@example.com\r\nMessage-ID: <${recipient}@example.com>\r\n\r\nhello\r\n`,
        { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
        { schedule },
      )
    // on the very first scrape already
    expect(await (await fetch(`http://${http}/metrics`)).text()).toContain('softbounce_database_up 1')
    // three messages for a destination that is down, two for others, one address suppressed by hand
    for (const who of ['ann', 'bob', 'cem']) await retry(`${who}@down.example`, ['1s', '30d'])
    for (const who of ['dan', 'eva']) await (await retry(`${who}@well${who}.example`, ['1s', '30d'])).result()
    await world.client.suppress('fay@example.org', 'operator')
    await eventually(async () => (await world.cli('destinations', 'down.example')).stdout.includes('down since'), 60_000)
    prometheus = await startPrometheus(folder.path, http)
    await eventually(async () => (await query('up == 1')).length === 2 && (await query('softbounce_retries_total')).length > 0, 60_000)
  }, 180_000)
  afterAll(async () => {
    await prometheus?.stop()
    await world?.close()
    for (const system of [down, well]) await system?.close()
    folder.remove()
  })

  test('the worker serves the live report, made in a thread of its own', async () => {
    const answer = await fetch(`http://${http}/report?since=1d`)
    const page = await answer.text()
    expect({ status: answer.status, said: page.slice(0, 200) }).toMatchObject({ status: 200 })
    expect(page).toMatch(/1 destination is down, failing or paused; the retries of 3 messages go on\./)
    expect(page).toMatch(/href="http:\/\/localhost:\d+\/namespaces\/[^"]+\/workflows\/bounce%2Fann%40down\.example/)
    expect(await (await fetch(`http://${http}/report.js`)).text()).toContain('addEventListener')
    expect((await fetch(`http://${http}/report`, { method: 'POST' })).status).toBe(405)
  })

  test('metrics report sends, waiting retries, destinations that are down, and suppressions', async () => {
    const value = async (expr: string) => Number((await query(expr))[0]?.value[1])
    expect(await value('softbounce_retries_total{retry="1",outcome="accepted"}')).toBe(2)
    expect(await value('softbounce_unavailable_deferrals_total{destination="down.example"}')).toBeGreaterThanOrEqual(2)
    expect(await value('softbounce_open_messages{destination="down.example"}')).toBe(3)
    expect(await value('softbounce_outages{state="down"}')).toBe(1)
    expect(await value('softbounce_destination_down_seconds{destination="down.example"}')).toBeGreaterThan(0)
    expect(await value('softbounce_suppressed_addresses{reason="manual"}')).toBe(1)
    expect(await value('softbounce_suppressions_total{reason="manual",change="suppressed"}')).toBe(1)
    expect(await value('softbounce_permits_total{result="acquired"}')).toBeGreaterThanOrEqual(4)
  })

  test('no label contains an address, and names and units follow Prometheus conventions', async () => {
    const text = await (await fetch(`http://${http}/metrics`)).text()
    expect(text).not.toMatch(/@/)
    writeFileSync(
      join(folder.path, 'metrics.txt'),
      text
        .split('\n')
        .filter((line) => !/(nodejs|process)_/.test(line))
        .join('\n'),
    )
    const { stdout, stderr } = await run('/bin/sh', ['-c', `promtool check metrics < '${join(folder.path, 'metrics.txt')}'`])
    expect(stdout + stderr).toBe('')
  })

  test('metrics are served as OpenMetrics on request, and those of Temporal’s SDK on their own page', async () => {
    const open = await fetch(`http://${http}/metrics`, { headers: { accept: 'application/openmetrics-text; version=1.0.0' } })
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text')
    expect((await open.text()).trimEnd()).toMatch(/# EOF$/)
    const plain = await fetch(`http://${http}/metrics`)
    expect(plain.headers.get('content-type')).toContain('text/plain')
    expect(await (await fetch(`http://${http}/metrics/temporal`)).text()).toContain('temporal_')
    expect((await fetch(`http://${http}/metrics`, { method: 'POST' })).status).toBe(405)
    // unknown and invalid paths
    for (const path of ['//', '/no/such', '/constructor']) expect((await fetch(`http://${http}${path}`)).status).toBe(404)
    expect((await fetch(`http://${http}/healthz`)).status).toBe(200)
  })

  test('each dashboard panel queries existing metrics', async () => {
    const withAll = (expr: string) => expr.replace(/\$(job|destination)/g, '.*')
    const { panels, templating } = JSON.parse(readFileSync(join(MONITORING, 'grafana/softbounce.json'), 'utf8')) as {
      panels: { title: string; targets: { expr: string; datasource: { uid: string } }[] }[]
      templating: { list: { name: string }[] }
    }
    const names = await fetch(`${prometheus.url}/api/v1/label/__name__/values`).then(
      async (r) => ((await r.json()) as { data: string[] }).data,
    )
    expect(templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'destination'])
    const labels = ['outcome', 'retry', 'destination', 'status', 'disposition', 'source', 'result', 'reason', 'change', 'type']
    // exported only by an intake, or with a webhook
    const elsewhere = ['softbounce_intake_mails_total', 'softbounce_events_total']
    for (const { title, targets } of panels)
      for (const { expr, datasource } of targets) {
        // the board is imported into any Grafana: the data source is a variable
        expect(datasource.uid).toMatch(/^\$\{datasource\}$/)
        for (const [, label] of expr.matchAll(/\bby \(([^)]*)\)/g))
          for (const name of (label as string).split(', '))
            if (!['le', 'instance', 'worker_type'].includes(name)) expect(labels, `${title}: ${name}`).toContain(name)
        await query(withAll(expr))
        const used = expr.match(/\b(softbounce|temporal|process)_\w+/g) ?? []
        expect(used.length, title).toBeGreaterThan(0)
        expect(
          used.filter((name) => !names.includes(name) && !elsewhere.includes(name)),
          title,
        ).toEqual([])
      }
    const shown = await query('topk(10, max by (destination) (softbounce_open_messages))')
    expect(shown.map(({ metric }) => metric.destination)).toContain('down.example')
  })

  test('the alerting rules are valid, and Prometheus evaluates them', async () => {
    expect((await run('promtool', ['check', 'rules', join(MONITORING, 'rules.yml')])).stdout).toContain('SUCCESS')
    expect((await run('promtool', ['test', 'rules', 'rules.test.yml'], { cwd: MONITORING })).stdout).toContain('SUCCESS')
    const rules = (await (await fetch(`${prometheus.url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; health: string }[] }[] }
    }
    const all = rules.data.groups.flatMap((group) => group.rules)
    expect(all.map(({ name }) => name)).toContain('SoftbounceDestinationDown')
    await eventually(async () => {
      const now = (await (await fetch(`${prometheus.url}/api/v1/rules`)).json()) as typeof rules
      return now.data.groups.every((group) => group.rules.every(({ health }) => health === 'ok'))
    }, 60_000)
  })
})

async function startPrometheus(folder: string, target: string) {
  const port = await freePort()
  const config = readFileSync(join(MONITORING, 'prometheus.yml'), 'utf8')
    .replaceAll('worker:8090', target)
    .replaceAll('intake:8090', '127.0.0.1:9')
    .replace('scrape_interval: 15s', 'scrape_interval: 1s\n  evaluation_interval: 1s')
    .replace('- rules.yml', `- ${join(MONITORING, 'rules.yml')}`)
  const file = join(folder, 'prometheus.yml')
  writeFileSync(file, config)
  const url = `http://127.0.0.1:${port}`
  const args = [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`]
  const child = spawn(programPath('prometheus') as string, args, { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await eventually(async () => (await fetch(`${url}/-/ready`).catch(() => null))?.ok === true, 30_000)
  return {
    url,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}
