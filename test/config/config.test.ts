import { execFileSync } from 'node:child_process'
import dns from 'node:dns'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readSettings, requireNextHop, settingsFrom } from '../../src/config/config.js'
import { fromEnvironment } from '../../src/config/from-environment.js'
import type { Config } from '../../src/config/options.js'
import { allSettings, type ConfigInput, defaultDatabaseUrl, jsonSchema } from '../../src/config/schema.js'
import { initialFile, mask, showSettings } from '../../src/config/show.js'
import { findConfigFile, load } from '../../src/config/sources.js'
import type { WrongSettings } from '../../src/config/wrong-settings.js'
import { temporaryFolder } from '../support/databases.js'

const HOUR = 3_600_000
let folder: ReturnType<typeof temporaryFolder>
beforeAll(() => {
  folder = temporaryFolder()
})
afterAll(() => folder.remove())

let files = 0
/** An environment whose configuration file has this content. */
function withFile(content: string): Record<string, string> {
  files += 1
  const file = join(folder.path, `${files}.yaml`)
  writeFileSync(file, content)
  return { SOFTBOUNCE_CONFIG: file }
}

function faultsOf(step: () => unknown): readonly string[] {
  try {
    step()
  } catch (error) {
    return (error as WrongSettings).faults.map((fault) => fault.replace(/^.*\/(\d+)\.yaml/, 'file'))
  }
  return []
}

test('the defaults are those of the docs', () => {
  const settings = readSettings({ XDG_STATE_HOME: '/state' })
  expect(settings).toMatchObject({
    database: { url: 'file:/state/softbounce/softbounce.db', schema: 'softbounce' },
    paths: { routes: [], relay: null },
    scheduleMs: [HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR],
    suppressionStepsMs: [1, 3, 7, 30].map((days) => days * 24 * HOUR),
    confirmWithinMs: 6 * 24 * HOUR,
    messageRetentionMs: 10 * 24 * HOUR,
    httpPort: null,
  })
  expect(() => requireNextHop(settings)).toThrow('SOFTBOUNCE_RELAY_URL')
  // a relative folder is no state folder (XDG Base Directory Specification)
  expect(defaultDatabaseUrl({ XDG_STATE_HOME: 'state' })).toMatch(/^file:\/.*\/\.local\/state\/softbounce\/softbounce\.db$/)
})

describe('the file', () => {
  const whole = `
database: { url: "postgres://app@db/app", schema: bounces }
relay: { url: "smtp://127.0.0.1:25" }
routes: [ { destination: "*", host: 127.0.0.1, port: 2526 }, { destination: Example.org, host: mx.example.org } ]
retry: { schedule: [1h, 4h], statuses: ["4.3.2", "4.4.*"] }
returnPath: { keys: [${Buffer.alloc(32, 1).toString('base64')}], address: "b+{token}@bounces.{domain}" }
http: { host: 127.0.0.1, port: 9464, token: 0123456789abcdef0 }
throttle:
  groups: [ { name: google, hosts: ["*.google.com"] } ]
  destinations: { Example.org: { maxMessageRate: 30/min, connectionLimit: 2 } }
events:
  urgentRules: [ { header: X-Priority, value: "1*" }, { sender: "*@billing.example" } ]
smtp:
`

  test('sections, tables and lists are read', () => {
    const settings = readSettings(withFile(whole))
    expect(settings).toMatchObject({
      database: { url: 'postgres://app@db/app', schema: 'bounces' },
      paths: {
        relay: { host: '127.0.0.1', port: 25, tls: 'opportunistic' },
        routes: [
          { destination: '*', host: '127.0.0.1', port: 2526 },
          { destination: 'example.org', host: 'mx.example.org', port: 25 },
        ],
      },
      scheduleMs: [HOUR, 4 * HOUR],
      returnPaths: { template: 'b+{token}@bounces.{domain}' },
      ...{ httpPort: 9464, httpToken: '0123456789abcdef0' },
      throttle: { groups: [{ name: 'google', hosts: ['*.google.com'] }] },
      events: {
        urgent: [
          { of: 'header', name: 'x-priority' },
          { of: 'sender', name: '' },
        ],
      },
    })
    expect(settings.throttle.destinationLimits.get('example.org')).toEqual({ maxMessageRate: 0.5, connections: 2 })
  })

  test('it is found by SOFTBOUNCE_CONFIG, in the working directory, and in the user’s configuration folder', () => {
    const before = process.cwd()
    const [home, here] = [join(folder.path, 'home'), join(folder.path, 'here')]
    for (const path of [join(home, 'softbounce'), here]) {
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'softbounce.yaml'), '')
    }
    try {
      process.chdir(folder.path)
      expect(findConfigFile({ XDG_CONFIG_HOME: join(folder.path, 'none') })).toBeNull()
      expect(findConfigFile({ XDG_CONFIG_HOME: home })).toBe(join(home, 'softbounce', 'softbounce.yaml'))
      process.chdir(here)
      expect(findConfigFile({ XDG_CONFIG_HOME: home })).toBe(join(here, 'softbounce.yaml'))
      expect(findConfigFile({ XDG_CONFIG_HOME: home, SOFTBOUNCE_CONFIG: '../other.yaml' })).toBe(join(folder.path, 'other.yaml'))
    } finally {
      process.chdir(before)
    }
    expect(() => readSettings({ SOFTBOUNCE_CONFIG: '/no/such.yaml' })).toThrow(/^\/no\/such\.yaml: it cannot be read: ENOENT/)
  })

  test('two values in one line of a database URL, and a name that is set twice, are faults; no password is shown', () => {
    const edited = withFile('database: { url: "file:/tmp/q.db postgres://softbounce:planted-secret@127.0.0.1/s" }\n')
    const faults = faultsOf(() => readSettings(edited))
    expect(faults).toEqual([expect.stringContaining('database.url: it must be file:PATH (SQLite) or postgres://')])
    expect(JSON.stringify(showSettings(load(edited))) + faults).not.toContain('planted-secret')
    expect(faultsOf(() => readSettings(withFile('intake:\n  listen: 127.0.0.1:1\n  listen: 127.0.0.1:2\n')))).toEqual([
      'file:3:3: this name is set twice in its section: leave one of them out',
    ])
  })

  test('settings that do not go together are named beside settings that are wrong', () => {
    const faults = (content: string) => faultsOf(() => readSettings(withFile(content))).map((fault) => fault.replace(/^file:\d+:\d+: /, ''))
    const both = 'relay.url is set too; leave one of them out (routes may name single destinations)'
    const direct = 'relay: { url: "smtp://127.0.0.1" }\ndirect: { enabled: true }\n'
    expect(faults(`${direct}log: { level: loud }\n`)).toEqual([expect.stringMatching(/^log\.level: /), `direct.enabled: ${both}`])
    expect(faults(`${direct}routes: [{ destination: "*", port: 0 }]\n`)).toContain(`direct.enabled: ${both}`)
    expect(faults(`${direct}"relay.url": x\n`)).toEqual([expect.stringContaining('there is no section relay.url')])
    expect(faults(`${direct}log: 1\n`)).toEqual(['log: it must be a mapping with names and values', `direct.enabled: ${both}`])
    // what is left out for its own fault does not count as missing
    expect(faults('http: { host: 0.0.0.0, port: 8090, token: 5 }\n')).toEqual([expect.stringMatching(/^http\.token: /)])
    expect(faults('providers: { api: { key: "AKIAEXAMPLE:secret-of-the-test" } }\nrelay: { provider: sess }\n')).toEqual([
      expect.stringMatching(/^relay\.provider: /),
    ])
    expect(faults('throttle: { minMessageRate: 30/s, maxMessageRate: fast }\n')).toHaveLength(1)
  })

  test('every fault is reported at once, with line and column', () => {
    const file = withFile(`database:
  url: mysql://x
relay: { url: http://relay, tls: verfy }
routes:
  - { destination: "*", port: 0 }
  - destination: example.org
    hots: mx.example.org
retry: { schedule: [1h, 4x], statuses: ["5.1.1"] }
http: { port: http, token: 123 }
throttel: {}
log: { level: loud }
smtp: { timeouts: { rcpt: 2s } }
`)
    const faults = faultsOf(() => readSettings({ ...file, SOFTBOUNCE_SUPPRESSION_STEPS: 'soon', SOFTBOUNCE_RELAY_CA_FILE: '/no/such.pem' }))
    expect(faults.map((fault) => fault.replace(/(: [^:]*): .*/, '$1'))).toEqual(
      [
        ...['file:2:3: database.url', 'file:3:10: relay.url', 'file:3:29: relay.tls', 'SOFTBOUNCE_RELAY_CA_FILE: the file cannot be read'],
        ...['file:5:5: routes.0.host', 'file:5:25: routes.0.port', 'file:6:5: routes.1.host', 'file:7:5: routes.1.hots'],
        ...['file:8:10: retry.schedule', 'file:8:30: retry.statuses'],
        ...['file:12:21: smtp.timeouts.rcpt'],
        ...['SOFTBOUNCE_SUPPRESSION_STEPS: suppression.steps.0'],
        ...['file:9:9: http.port', 'file:9:21: http.token', 'file:11:8: log.level', 'file:10:1: throttel'],
      ].sort((a, b) => faults.findIndex((f) => f.startsWith(a)) - faults.findIndex((f) => f.startsWith(b))),
    )
    for (const expected of [
      'relay.tls: it must be verify, opportunistic or off',
      'routes.1.hots: there is no setting hots; did you mean host?',
      'throttel: there is no section throttel; did you mean throttle?',
      'routes.0.host: it is missing',
      'http.token: it is no text: a duration or a rate has a unit (6d, 14/s), anything else goes in quotes',
      'entry 2 ("4x")',
    ])
      expect(
        faults.some((fault) => fault.includes(expected)),
        expected,
      ).toBe(true)
    for (const fault of faults) expect(fault).not.toContain('\n')
  })

  test.each([
    ['a tab', 'relay:\n\turl: x', /^file:2:1: /],
    ['the same key twice', 'relay: {}\nhttp: {}\nrelay: {}\n', /^file:3:1: this name is set twice in its section/],
    [
      'a star without quotes',
      'ownHosts: [ *.example.com ]\n',
      /^file:1:13: a value that begins with \* must be in quotes: "\*\.example\.com"/,
    ],
    ['a list', '- relay\n', /^.*file:1:1: it must be a table of sections/],
  ])('%s is a fault with its place', (_, content, expected) => {
    expect(faultsOf(() => readSettings(withFile(content)))[0]).toMatch(expected)
  })
})

describe('the environment', () => {
  test('lists, flags, numbers and tables are read from text', () => {
    const settings = readSettings({
      ...{ SOFTBOUNCE_DIRECT_ENABLED: 'yes', SOFTBOUNCE_DIRECT_DNS_SERVERS: '192.0.2.53, 127.0.0.1:5353 [2001:db8::53]:53' },
      ...{ SOFTBOUNCE_SMTP_BIND_ADDRESSES: '[192.0.2.1, "2001:db8::1"]', SOFTBOUNCE_HTTP_PORT: '9464', SOFTBOUNCE_OWN_HOSTS: '' },
      ...{ SOFTBOUNCE_ROUTES: '[{destination: "*", host: 127.0.0.1, port: 25}]', SOFTBOUNCE_RELAY_MAX_MESSAGE_RATE: '14/s' },
    })
    expect(settings.direct).toEqual({
      ...{ mtaSts: true, dane: false, port: 25, allowPrivateMx: false },
      dnsServers: ['192.0.2.53', '127.0.0.1:5353', '[2001:db8::53]:53'],
      bindAddresses: ['192.0.2.1', '2001:db8::1'],
    })
    expect(settings).toMatchObject({ httpPort: 9464, ownHosts: [], paths: { routes: [{ destination: '*' }] } })
    expect(settings.throttle.relay).toMatchObject({ minMessageRate: 14, maxMessageRate: 14, connections: 20 })
  })

  test('an unknown variable is a fault that names the nearest', () => {
    expect(() => readSettings({ SOFTBOUNCE_DATABSE_URL: 'file:x' })).toThrow('did you mean SOFTBOUNCE_DATABASE_URL?')
    expect(() => readSettings({ SOFTBOUNCE_SOMETHING_ELSE_ALTOGETHER: 'x' })).toThrow(/ALTOGETHER: there is no setting [A-Z_]+$/)
  })

  test('names of other programs mean nothing', () => {
    const theirs = { DATABASE_URL: 'mysql://x', LOG_LEVEL: 'trace', RELAY_URL: 'x', HTTP_PORT: 'x' }
    expect(JSON.stringify(readSettings({ ...theirs, XDG_STATE_HOME: '/s' }))).toBe(JSON.stringify(readSettings({ XDG_STATE_HOME: '/s' })))
  })

  test('a secret may be in a file; two values for one setting are a fault, a value in file and environment is reported', () => {
    const secret = join(folder.path, 'secret')
    writeFileSync(secret, 'smtp://127.0.0.1:2525\n')
    expect(readSettings({ SOFTBOUNCE_RELAY_URL_FILE: secret }).paths.relay).toMatchObject({ port: 2525 })
    const both = { SOFTBOUNCE_RELAY_URL_FILE: secret, SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1' }
    expect(() => readSettings(both)).toThrow('SOFTBOUNCE_RELAY_URL_FILE is set too')
    expect(() => readSettings({ SOFTBOUNCE_RELAY_URL_FILE: '/no/such' })).toThrow(/^SOFTBOUNCE_RELAY_URL_FILE: ENOENT/)
    expect(() => readSettings({ SOFTBOUNCE_RELAY_TLS_FILE: secret })).toThrow('there is no setting SOFTBOUNCE_RELAY_TLS_FILE')
    const file = withFile('log: { level: warn }\n')
    const settings = readSettings({ ...file, SOFTBOUNCE_LOG_LEVEL: 'error' })
    expect(settings.logLevel).toBe('error')
    expect(settings.overridden).toEqual([
      expect.stringMatching(/^log\.level: SOFTBOUNCE_LOG_LEVEL is set, and so its value in .*:1:8 is not used$/),
    ])
  })

  test('variables of Temporal’s worker versioning go together', () => {
    const version = { TEMPORAL_DEPLOYMENT_NAME: 'mail', TEMPORAL_WORKER_BUILD_ID: '1.0' }
    expect(readSettings(version).deploymentVersion).toEqual({ deploymentName: 'mail', buildId: '1.0' })
    expect(() => readSettings({ TEMPORAL_DEPLOYMENT_NAME: 'mail' })).toThrow('set both, or neither')
  })
})

describe('options of the library', () => {
  const keys = [Buffer.alloc(32, 1).toString('base64')]

  test('they have the file’s shape, and are checked as far as they are used', () => {
    const config: Config = { returnPath: { keys }, relay: { tls: 'no' as 'off', confirmWithin: '7d' }, log: { level: 'trace' as 'info' } }
    expect(settingsFrom(config, ['returnPath', 'relay.confirmWithin'])).toMatchObject({ confirmWithinMs: 7 * 24 * HOUR })
    expect(faultsOf(() => settingsFrom(config))).toEqual([
      'relay.tls: it must be verify, opportunistic or off',
      'log.level: it must be debug, info, warn or error',
    ])
    expect(() => settingsFrom({ returnPaht: {} } as Config)).not.toThrow()
    expect(() => settingsFrom({ relay: { ulr: 'x' } } as Config, ['database'])).toThrow('did you mean url?')
  })

  test('the environment is read only by fromEnvironment', () => {
    const before = process.env.SOFTBOUNCE_RELAY_URL
    process.env.SOFTBOUNCE_RELAY_URL = 'smtp://127.0.0.1'
    try {
      expect(settingsFrom({}).paths.relay).toBeNull()
      expect(settingsFrom(fromEnvironment()).paths.relay).not.toBeNull()
    } finally {
      if (before === undefined) delete process.env.SOFTBOUNCE_RELAY_URL
      else process.env.SOFTBOUNCE_RELAY_URL = before
    }
    expect(() => settingsFrom(fromEnvironment({ SOFTBOUNCE_RELAY_URL: 'x' }))).toThrow(/^SOFTBOUNCE_RELAY_URL: it must be smtp/)
    expect(() => fromEnvironment({ SOFTBOUNCE_X: 'x' })).toThrow('SOFTBOUNCE_X')
  })
})

describe('the relay', () => {
  const relay = (section: NonNullable<Config['relay']>) => settingsFrom({ relay: section }).paths.relay

  test('the relay is configured by one URL', () => {
    expect(relay({ url: 'smtp://app:p%40ss@relay.example.com:587' })).toEqual({
      kind: 'relay',
      host: 'relay.example.com',
      port: 587,
      tls: 'verify',
      credentials: { user: 'app', pass: 'p@ss' },
    })
    expect(relay({ url: 'smtp://127.0.0.1' })).toEqual({ kind: 'relay', host: '127.0.0.1', port: 25, tls: 'opportunistic' })
    expect(relay({ url: 'smtps://relay.example.com' })).toMatchObject({ port: 465, tls: 'implicit' })
    expect(relay({ url: 'smtp://[::1]:2525' })).toMatchObject({ host: '::1', port: 2525 })
    expect(relay({ url: 'smtp://relay.example.com', transparent: true })).toMatchObject({ kind: 'transparent' })
  })

  test('a relay password requires TLS, except on localhost', () => {
    const url = 'smtp://app:secret@relay.example.com:587'
    expect(() => relay({ url, tls: 'off' })).toThrow('relay.tls')
    expect(() => relay({ url, tls: 'opportunistic' })).toThrow('relay.tls')
    expect(relay({ url: 'smtp://app:secret@127.0.0.1:25', tls: 'off' })).toMatchObject({ tls: 'off' })
  })

  test.each(['a#b', 'a/b', 'a?b', 'a@b', 'a%b', 'a@b/c#d', '/Zk3secret', '12/x', '1?x'])(
    'a password %s in a URL: it says to percent-encode it',
    (password) => {
      const faults = [
        ...faultsOf(() => settingsFrom({ database: { url: `postgres://app:${password}@db/sb` } })),
        ...faultsOf(() => relay({ url: `smtp://app:${password}@relay.example.com` })),
        ...faultsOf(() => settingsFrom({ intake: { imap: { url: `imaps://app:${password}@imap.example.com/INBOX` } } })),
      ]
      expect(faults).toHaveLength(3)
      for (const fault of faults) {
        expect(fault).toContain('write # as %23, / as %2F')
        expect(fault).not.toContain(password)
      }
    },
  )
})

test.each([
  ['direct.enabled', { direct: { enabled: true }, relay: { url: 'smtp://127.0.0.1' } }],
  ['direct.dnsServers.0', { direct: { dnsServers: ['ns.example.org'] } }],
  ['smtp.bindAddresses', { smtp: { bindAddresses: ['192.0.2.1', '192.0.2.2'] } }],
  ['throttle.minMessageRate', { throttle: { minMessageRate: '30/s' } }],
  ['throttle.maxMessageRate', { throttle: { maxMessageRate: 'fast' } }],
  ['throttle.destinations.example.org.rate', { throttle: { destinations: { 'example.org': { rate: '1/s' } } } }],
  ['throttle.destinations.example.org.connectionLimit', { throttle: { destinations: { 'example.org': { connectionLimit: 0 } } } }],
  ['throttle.groups.0.hosts', { throttle: { groups: [{ name: 'google', hosts: [] }] } }],
  ['throttle.groups.0.hosts.0', { throttle: { groups: [{ name: 'google', hosts: ['a b'] }] } }],
  ['throttle.groups.1.name', { throttle: { groups: ['a', 'b'].map((host) => ({ name: 'x', hosts: [host] })) } }],
  ['events.urgentRules.0', { events: { urgentRules: [{ sender: 'a', recipient: 'b' }] } }],
  ['events.urgentRules.0', { events: { urgentRules: [{ header: 'X-Priority' }] } }],
  ['events.webhook.url', { events: { webhook: { url: 'https://hooks.example.com' } } }],
  ['events.webhook.url', { events: { webhook: { url: 'https://u:p@hooks.example.com', secret: 'whsec_plantedplantedplanted' } } }],
  ['events.publish.0', { events: { publish: ['bounce.lost'] } }],
  ['http.host', { http: { host: '0.0.0.0', port: 9464 } }],
  ['intake.imap.processedFolder', { intake: { imap: { url: 'imaps://u:p@imap.example.com/inbox', processedFolder: 'INBOX' } } }],
  ['intake.imap.quarantineFolder', { intake: { imap: { url: 'imaps://u:p@imap.example.com/inbox', quarantineFolder: 'Inbox' } } }],
  ['intake.imap.url', { intake: { imap: { url: 'imaps://u@imap.example.com' } } }],
  ...('resolveTlsa' in dns ? [] : [['direct.dane', { direct: { enabled: true, dane: true } }] as const]),
] as const)('%s: what is wrong is named', (name, config) => {
  expect(faultsOf(() => settingsFrom(config as unknown as Config)).map((fault) => fault.split(': ')[0])).toContain(name)
})

test('a maximum rate below the default minimum lowers the minimum too', () => {
  expect(settingsFrom({ throttle: { maxMessageRate: '30/min' } }).throttle.limits).toMatchObject({
    minMessageRate: 0.5,
    maxMessageRate: 0.5,
  })
})

describe('what is shown', () => {
  test('each setting with its source; secrets are masked', () => {
    const file = withFile('relay:\n  url: smtp://app:planted-secret@relay.example.com\nlog: { level: warn }\n')
    const environment = {
      ...{ ...file, SOFTBOUNCE_LOG_LEVEL: 'error', SOFTBOUNCE_DATABASE_URL: 'postgres://u:planted-secret@h/d' },
      ...{ SOFTBOUNCE_RETURN_PATH_KEYS: 'planted-secret, planted-secret', SOFTBOUNCE_ENCRYPTION_KEYS: '[{id: a, key: planted-secret}]' },
      SOFTBOUNCE_EVENTS_WEBHOOK_URL: 'https://hooks.example.com/planted-secret',
    }
    const shown = showSettings(load(environment))
    const by = Object.fromEntries(shown.map(({ name, value, source }) => [name, [value, source]]))
    expect(by['log.level']).toEqual(['error', 'SOFTBOUNCE_LOG_LEVEL'])
    expect(by['relay.url']).toEqual(['smtp://app:***@relay.example.com', `${file.SOFTBOUNCE_CONFIG}:2:3`])
    expect(by['database.url']).toEqual(['postgres://u:***@h/d', 'SOFTBOUNCE_DATABASE_URL'])
    expect(by['retry.schedule']).toEqual([['1h', '4h', '12h', '24h'], 'default'])
    expect(by['events.webhook.url']).toEqual(['https://hooks.example.com/***', 'SOFTBOUNCE_EVENTS_WEBHOOK_URL'])
    expect(JSON.stringify(shown)).not.toContain('planted')
  })

  test.each([
    ['postgres://app:/Zk3secret@db/sb', 'postgres://***'],
    ['postgres://app:Zk3#secret@db/sb', 'postgres://***'],
    ['postgres://app:Zk3?secret@db/sb', 'postgres://***'],
    ['postgres://app:Zk3@secret@db/sb', 'postgres://***'],
    ['postgres://db/sb?password=Zk3secret', 'postgres://db/sb?***'],
    ['postgres://app:Zk3secret@/sb?host=/run', 'postgres://***'],
    ['smtp://user@example.com:Zk3secret@relay.example.com', 'smtp://***'],
    ['smtps://app:Zk3secret@[2001:db8::1]:465', 'smtps://app:***@[2001:db8::1]:465'],
    ['file:/var/lib/softbounce.db', 'file:/var/lib/softbounce.db'],
    ['file:/var/lib/softbounce.db?key=Zk3secret', 'file:/var/lib/softbounce.db?***'],
    ['smtp://Zk3secret@relay.example.com:25', 'smtp://***@relay.example.com:25'],
    ['Zk3secret', '***'],
  ])('%s is masked as %s', (text, masked) => expect(mask(text)).toBe(masked))
})

describe('the JSON Schema', () => {
  test('a right file passes it, wrong ones do not', () => {
    const passes = new Ajv2020({ strict: false }).compile(jsonSchema())
    const file = { database: { url: 'file:x' }, routes: [{ destination: '*', host: '127.0.0.1', port: 2526 }], retry: { schedule: ['1h'] } }
    expect(passes(file)).toBe(true)
    for (const wrong of [{ relay: { ulr: 'x' } }, { http: { port: 'x' } }, { routes: [{ host: 'x' }] }, { relay: { tls: 'verfy' } }])
      expect(passes(wrong), JSON.stringify(wrong)).toBe(false)
  })

  test('every setting and section is described', () => {
    for (const { name, doc } of allSettings()) expect(doc, name).not.toBe('')
    expect(new Set(allSettings().map(({ variable }) => variable)).size).toBe(allSettings().length)
  })

  test('the initial file names every setting, is right as it is, and with every line in force', () => {
    const text = initialFile('schema.json')
    expect(faultsOf(() => readSettings(withFile(text)))).toEqual([])
    const uncommented = text.replace(/^( *)#([a-z]\w*:( .*)?)$/gm, '$1$2')
    const values = parse(uncommented)
    const missing = allSettings().filter(({ path }) => path.reduce((value, key) => value?.[key], values) === undefined)
    expect(missing.map(({ name }) => name)).toEqual([])
    const faults = faultsOf(() => readSettings(withFile(uncommented))).map((fault) => fault.split(': ').slice(1).join(': '))
    // examples of files that are not there, and a key that is only described
    expect(faults.filter((fault) => !/^(direct\.dkim|returnPath\.keys|encryption\.keys)/.test(fault))).toEqual([])
  })
})

test('the configuration of docker-compose.yml is right', () => {
  const file = fileURLToPath(new URL('../../deploy/softbounce.yaml', import.meta.url))
  const settings = readSettings({ SOFTBOUNCE_CONFIG: file, SOFTBOUNCE_HTTP_TOKEN: 'within-the-compose-network' })
  expect(settings.paths.routes).toEqual([{ destination: '*', host: 'mailpit', port: 1025 }])
  expect(settings).toMatchObject({ httpPort: 8090, httpHost: '0.0.0.0' })
})

test('the types of options are those of the schema', () => {
  // the compiler checks it
  const written = (config: Config): object => ({ ...config })
  const checked = (config: ConfigInput): Config => config
  expect(written(checked({ relay: { url: 'smtp://127.0.0.1' } }))).toEqual({ relay: { url: 'smtp://127.0.0.1' } })
})

test.each(['settings-page', 'cli-page'])('what scripts/%s.mjs writes matches the code', (script) => {
  execFileSync(process.execPath, [fileURLToPath(new URL(`../../scripts/${script}.mjs`, import.meta.url)), '--check'], { stdio: 'pipe' })
})
