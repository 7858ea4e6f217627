import { execFileSync } from 'node:child_process'
import dns from 'node:dns'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readSettings, requireNextHop, SETTINGS, showSettings } from '../../src/config/config.js'
import { readDotenv } from '../../src/config/sources.js'
import type { WrongSettings } from '../../src/config/wrong-settings.js'
import { temporaryFolder } from '../support/databases.js'

const HOUR = 3_600_000

test('the defaults are those of the docs', () => {
  const settings = readSettings({}, {})
  expect(settings).toMatchObject({
    databaseUrl: 'file:softbounce.db',
    paths: { routes: [], relay: null },
    scheduleMs: [HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR],
    suppressionStepsMs: [1, 3, 7, 30].map((days) => days * 24 * HOUR),
    confirmWithinMs: 6 * 24 * HOUR,
    messageRetentionMs: 10 * 24 * HOUR,
    httpPort: null,
  })
  expect(() => requireNextHop(settings)).toThrow('RELAY_URL')
})

test('every fault is reported at once, each in one line with its setting', () => {
  try {
    readSettings(
      {
        DATABASE_URL: 'mysql://x',
        RETRY_SCHEDULE: '1h, 4x',
        RELAY_URL: 'http://relay',
        ROUTES: 'x',
        HTTP_PORT: 'http',
        LOG_LEVEL: 'loud',
        RETRY_STATUSES: '5.1.1',
      },
      {},
    )
    expect.unreachable()
  } catch (error) {
    const { faults } = error as WrongSettings
    expect(faults.map((fault) => fault.split('=')[0]).sort()).toEqual([
      'DATABASE_URL',
      'HTTP_PORT',
      'LOG_LEVEL',
      'RELAY_URL',
      'RETRY_SCHEDULE',
      'RETRY_STATUSES',
      'ROUTES',
    ])
    expect(faults.find((fault) => fault.startsWith('RETRY_SCHEDULE'))).toContain('entry 2 ("4x")')
    for (const fault of faults) expect(fault).not.toContain('\n')
  }
})

describe('the relay', () => {
  const relay = (env: Record<string, string>) => readSettings(env, {}).paths.relay

  test('the relay is configured by one URL', () => {
    expect(relay({ RELAY_URL: 'smtp://app:p%40ss@relay.example.com:587' })).toEqual({
      kind: 'relay',
      host: 'relay.example.com',
      port: 587,
      tls: 'verify',
      credentials: { user: 'app', pass: 'p@ss' },
    })
    expect(relay({ RELAY_URL: 'smtp://127.0.0.1' })).toEqual({ kind: 'relay', host: '127.0.0.1', port: 25, tls: 'opportunistic' })
    expect(relay({ RELAY_URL: 'smtps://relay.example.com' })).toMatchObject({ port: 465, tls: 'implicit' })
    expect(relay({ RELAY_URL: 'smtp://[::1]:2525' })).toMatchObject({ host: '::1', port: 2525 })
    expect(relay({ RELAY_URL: 'smtp://relay.example.com', RELAY_IS_TRANSPARENT: 'true' })).toMatchObject({ kind: 'transparent' })
  })

  test('a relay password requires TLS, except on localhost', () => {
    const url = 'smtp://app:secret@relay.example.com:587'
    expect(() => relay({ RELAY_URL: url, RELAY_TLS: 'off' })).toThrow('RELAY_TLS')
    expect(() => relay({ RELAY_URL: url, RELAY_TLS: 'opportunistic' })).toThrow('RELAY_TLS')
    expect(relay({ RELAY_URL: 'smtp://app:secret@127.0.0.1:25', RELAY_TLS: 'off' })).toMatchObject({ tls: 'off' })
  })
})

describe('direct delivery and rate limits', () => {
  const read = (env: Record<string, string>) => readSettings(env, {})

  test('every setting is read', () => {
    const settings = read({
      ...{ DELIVERY: 'direct', DNS_SERVERS: '192.0.2.53, 127.0.0.1:5353 [2001:db8::53]:53', SOURCE_ADDRESSES: '192.0.2.1 2001:db8::1' },
      ...{ LIMITS: 'example.org: rate 30/min', DESTINATIONS: 'google=*.google.com', RELAY_RATE: '14/s', LOWEST_RATE: '30/min' },
    })
    expect(settings.direct).toEqual({
      ...{ mtaSts: true, dane: false, port: 25, allowPrivateMx: false },
      dnsServers: ['192.0.2.53', '127.0.0.1:5353', '[2001:db8::53]:53'],
      bindAddresses: ['192.0.2.1', '2001:db8::1'],
    })
    expect(settings.throttle).toMatchObject({
      limits: { minMessageRate: 0.5, maxMessageRate: 20, connections: 5, maxDeliveriesPerConnection: 20 },
      ...{ failuresBeforeDown: 5, probeIntervalMs: 60_000, maxQueueDelayMs: 900_000, releaseOnRecovery: false },
      relay: { minMessageRate: 14, maxMessageRate: 14, connections: 20 },
      groups: [{ name: 'google', hosts: ['*.google.com'] }],
    })
    expect(settings.throttle.destinationLimits.get('example.org')).toEqual({ maxMessageRate: 0.5 })
    expect(() => requireNextHop(settings)).not.toThrow()
    expect(() => requireNextHop(read({}))).toThrow('DELIVERY=direct')
    expect(read({}).direct).toBeNull()
    expect(read({ HIGHEST_RATE: '30/min' }).throttle.limits).toMatchObject({ minMessageRate: 0.5, maxMessageRate: 0.5 })
  })

  test.each([
    ['DELIVERY', { DELIVERY: 'direct', RELAY_URL: 'smtp://127.0.0.1' }],
    ['DELIVERY', { DELIVERY: 'pigeon' }],
    ['DNS_SERVERS', { DNS_SERVERS: 'ns.example.org' }],
    ['SOURCE_ADDRESSES', { SOURCE_ADDRESSES: '192.0.2.1 192.0.2.2' }],
    ['LOWEST_RATE', { LOWEST_RATE: '30/s' }],
    ['HIGHEST_RATE', { HIGHEST_RATE: 'fast' }],
    ['LIMITS', { LIMITS: 'example.org' }],
    ['DESTINATIONS', { DESTINATIONS: 'google' }],
    ...('resolveTlsa' in dns ? [] : [['DANE', { DELIVERY: 'direct', DANE: 'true' }] as const]),
  ] as const)('%s: what is wrong is said', (name, env) => {
    expect(() => read(env as unknown as Record<string, string>)).toThrow(new RegExp(`^${name}`))
  })
})

test('.env is read, the environment wins, and secrets are masked wherever they are shown', () => {
  const folder = temporaryFolder()
  const file = join(folder.path, '.env')
  writeFileSync(file, 'RELAY_URL="smtp://app:planted-secret@relay.example.com"\nLOG_LEVEL=warn\n')
  const dotenv = readDotenv(file)
  expect(readDotenv(join(folder.path, 'none'))).toEqual({})
  folder.remove()
  const shown = showSettings({ LOG_LEVEL: 'error', DATABASE_URL: 'postgres://u:planted-secret@h/d' }, dotenv)
  const by = Object.fromEntries(shown.map(({ name, value, source }) => [name, [value, source]]))
  expect(by.LOG_LEVEL).toEqual(['error', 'environment'])
  expect(by.RELAY_URL).toEqual(['smtp://app:***@relay.example.com', '.env'])
  expect(by.DATABASE_URL).toEqual(['postgres://u:***@h/d', 'environment'])
  expect(by.RETRY_SCHEDULE).toEqual(['1h, 4h, 12h, 24h', 'default'])
  const masked = Object.fromEntries(
    showSettings(
      {
        RELAY_URL: 'smtp://user@example.com:planted-secret@relay.example.com',
        DATABASE_URL: 'postgres://h/d?password=planted-secret',
        WEBHOOK_URL: 'https://hooks.example.com/planted-secret',
        WEBHOOK_SECRET: 'whsec_plantedplantedplanted',
      },
      {},
    ).map(({ name, value }) => [name, value]),
  )
  expect(JSON.stringify(masked)).not.toContain('planted')
  expect(masked.WEBHOOK_URL).toBe('https://hooks.example.com/***')
  expect(() => readSettings({ WEBHOOK_URL: 'https://u:p@hooks.example.com', WEBHOOK_SECRET: 'whsec_plantedplantedplanted' }, {})).toThrow(
    'WEBHOOK_URL',
  )
  try {
    readSettings({ RELAY_URL: 'http://app:planted-secret@relay.example.com' }, {})
    expect.unreachable()
  } catch (error) {
    expect((error as Error).message).toContain('***')
    expect((error as Error).message).not.toContain('planted-secret')
  }
})

test('docs/settings.md matches the code', () => {
  execFileSync(process.execPath, [fileURLToPath(new URL('../../scripts/settings-page.mjs', import.meta.url)), '--check'], { stdio: 'pipe' })
})

test('docker-compose.yml passes every setting on', () => {
  const compose = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8')
  // set by the compose file's own command line
  const missing = Object.keys(SETTINGS).filter((name) => name !== 'INTAKE_LISTEN' && !new RegExp(`^ {2,6}${name}:`, 'm').test(compose))
  expect(missing).toEqual([])
})

test('the IMAP folders must differ from the mailbox itself, in any spelling', () => {
  const read = (more: object) => () => readSettings({ IMAP_URL: 'imaps://u:p@imap.example.com/inbox', ...more }, {})
  expect(read({ IMAP_HANDLED: 'move:INBOX' })).toThrow('it must be another folder')
  expect(read({ IMAP_UNREADABLE: 'Inbox' })).toThrow('it must be another folder')
  expect(read({ IMAP_HANDLED: 'move:Handled' })().mailbox?.handledFolder).toBe('Handled')
})
