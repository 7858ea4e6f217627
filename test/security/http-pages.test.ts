/** HTTP pages of workers and intakes: on localhost only, or with the token. */
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import { serveHttp } from '../../src/report/http-server.js'
import { Metrics } from '../../src/report/metrics.js'
import { sqliteDatabase } from '../support/databases.js'
import { eventually } from '../support/skipping-time.js'

const TOKEN = 'a-token-of-0123456789'

test.each(['0.0.0.0', '::', '192.0.2.1', 'mail.example.com'])('http.host=%s requires a token', (host) => {
  const shown = { SOFTBOUNCE_HTTP_PORT: '9400', SOFTBOUNCE_HTTP_HOST: host }
  expect(() => readSettings(shown)).toThrow('http.token must be set')
  expect(readSettings({ ...shown, SOFTBOUNCE_HTTP_TOKEN: TOKEN }).httpToken).toBe(TOKEN)
})

test('by default the pages listen on localhost only', () => {
  expect(readSettings({ SOFTBOUNCE_HTTP_PORT: '9400' }).httpHost).toBe('127.0.0.1')
})

describe('with a token', () => {
  let server: Server
  let database: Awaited<ReturnType<typeof sqliteDatabase>>
  beforeAll(async () => {
    database = await sqliteDatabase()
    server = await serveHttp({
      ...{ port: 0, host: '127.0.0.1', token: TOKEN, databaseFault: async () => null, metrics: new Metrics() },
      state: () => ({ name: 'worker', is: 'RUNNING', good: true }),
    })
  })
  afterAll(async () => {
    server.close()
    await database.close()
  })
  const ask = (path: string, authorization?: string) =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, {
      headers: authorization === undefined ? {} : { authorization },
    })

  test.each([undefined, 'Bearer', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(0, -1)}`, TOKEN, `Basic ${btoa(`:${TOKEN}`)}`])(
    '%j is refused without information',
    async (authorization) => {
      for (const path of ['/metrics', '/metrics/temporal']) {
        const answer = await ask(path, authorization)
        expect(answer.status).toBe(401)
        expect(await answer.text()).not.toMatch(/softbounce_|HELP/)
      }
    },
  )

  test('at most a hundred connections are accepted at once', async () => {
    const { port } = server.address() as AddressInfo
    const sockets = Array.from({ length: 120 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    const closed = (socket: Socket) => new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)))
    const sentAway = sockets.map((socket) => Promise.race([closed(socket), new Promise<boolean>((r) => setTimeout(r, 1000, false))]))
    expect((await Promise.all(sentAway)).filter((away) => away).length).toBeGreaterThanOrEqual(20)
    for (const socket of sockets) socket.destroy()
    await eventually(async () => (await ask('/healthz').catch(() => null))?.ok)
  })

  test('the token gives access; the health check needs none and reveals nothing else', async () => {
    expect(await (await ask('/metrics', `Bearer ${TOKEN}`)).text()).toContain('softbounce_')
    expect(await (await ask('/healthz')).json()).toEqual({ healthy: true, worker: 'RUNNING', database: 'ok' })
  })
})
