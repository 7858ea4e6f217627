/** The cluster of `npm run cluster` has the version and the settings of docker-compose.yml. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { environmentOf } from '../../dev/cluster/cluster.js'
import { composeSettings } from '../../dev/cluster/index.js'

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const { services } = parse(readFileSync(root('docker-compose.yml'), 'utf8'), { merge: true })

test('only addresses, ports, credentials and the log differ from docker-compose.yml', () => {
  const ports = { postgres: 1, services: { frontend: [{ grpc: 2, membership: 3, http: 4 }], history: [], matching: [], worker: [] } }
  const own = environmentOf(composeSettings(), ports, { port: 1 })
  const { environment } = services.temporal
  const differ = Object.keys(own).filter((name) => own[name] !== environment[name])
  expect(differ.sort()).toEqual([
    'BIND_ON_IP',
    'DB_PORT',
    'DYNAMIC_CONFIG_FILE_PATH',
    'FRONTEND_GRPC_PORT',
    'FRONTEND_HTTP_PORT',
    'FRONTEND_MEMBERSHIP_PORT',
    'LOG_LEVEL',
    'POSTGRES_PWD',
    'POSTGRES_SEEDS',
    'PUBLIC_FRONTEND_ADDRESS',
    'TEMPORAL_BROADCAST_ADDRESS',
  ])
  expect(Object.keys(environment).filter((name) => !(name in own))).toEqual([])
  expect(own).toMatchObject({ DB: 'postgres12', NUM_HISTORY_SHARDS: environment.NUM_HISTORY_SHARDS })
  expect(Number(own.NUM_HISTORY_SHARDS)).toBeGreaterThanOrEqual(512)
})

test('the server, its schema and the namespace come from one version, and use the same files', () => {
  const { version, dynamicConfig, schemaScript, namespaceScript, retention } = composeSettings()
  for (const name of ['temporal-schema', 'temporal-namespace']) expect(services[name].image).toBe(`temporalio/admin-tools:${version}`)
  expect(retention).toBe('30d')
  for (const [service, file] of [
    ['temporal', dynamicConfig],
    ['temporal-schema', schemaScript],
    ['temporal-namespace', namespaceScript],
  ] as const) {
    const [mounted, at] = services[service].volumes[0].split(':')
    expect(root(mounted)).toBe(file)
    expect(JSON.stringify(services[service])).toContain(`${at}`)
    expect(readFileSync(file, 'utf8').length).toBeGreaterThan(0)
  }
})
