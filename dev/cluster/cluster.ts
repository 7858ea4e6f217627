/**
 * A real Temporal cluster on 127.0.0.1: PostgreSQL, and frontend, history, matching and worker services as processes of their own, with the
 * version and the settings of docker-compose.yml.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { findProgram, freePort, TEMPORAL_CLI } from '../dev-server/index.js'
import { type Postgres, startPostgres } from '../postgres/index.js'
import { type ComposeSettings, composeSettings } from './compose-settings.js'
import { buildServer } from './programs.js'
import { ClusterService, type ServiceKind } from './service.js'

export interface ClusterOptions {
  /** How many services of a kind. Default: one of each. */
  readonly history?: number
  readonly matching?: number
  readonly frontend?: number
  /** For data and logs. If it holds an earlier cluster, its data, ports and counts are reused. Default: a temporary folder. */
  readonly folder?: string
  readonly say?: (line: string) => void
}

export interface Cluster {
  /** `127.0.0.1:PORT` of the first frontend. */
  readonly address: string
  readonly services: readonly ClusterService[]
  readonly postgres: Postgres
  /** Holds a log of each service. */
  readonly folder: string
  /** CPU time of Temporal's services so far, ms (Linux). */
  cpuMs(): number
  /** Ends all processes; removes the folder unless it was given. */
  stop(): Promise<void>
}

export interface Ports {
  readonly grpc: number
  readonly membership: number
  readonly http: number
}

/** Those that others need come first. */
const START_ORDER: readonly ServiceKind[] = ['history', 'matching', 'frontend', 'worker']

/** @throws Error if a program is missing (`withoutCluster` says why) or a service does not start. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const say = options.say ?? (() => {})
  const settings = composeSettings()
  const programs = buildServer(settings.version, say)
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'softbounce-cluster-'))
  mkdirSync(folder, { recursive: true })
  // PostgreSQL, which runs as another user, must get through to its own folder
  chmodSync(folder, 0o711)
  const counts = { history: 1, matching: 1, frontend: 1, ...options, worker: 1 }
  const ports = await portsOf(folder, counts)
  const postgres = await startPostgres(['max_connections=300'], postgresIn(folder, ports.postgres))
  const services: ClusterService[] = []
  const stop = async () => {
    for (const service of services.toReversed()) await service.stop()
    // a test may have stopped it already
    await postgres.stop().catch(() => {})
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true })
  }
  try {
    makeSchema(settings, programs, postgres)
    const [frontend] = ports.services.frontend as [Ports]
    for (const kind of START_ORDER)
      for (const [i, own] of (ports.services[kind] as Ports[]).entries()) {
        const env = { ...environmentOf(settings, ports, postgres), ...portVariables(kind, own) }
        const service = new ClusterService(
          join(programs, 'temporal-server'),
          kind,
          `${kind}-${i + 1}`,
          own.grpc,
          own.membership,
          env,
          folder,
        )
        services.push(service)
        await service.start()
      }
    const address = `127.0.0.1:${frontend.grpc}`
    await registerNamespace(settings, address, say)
    return { address, services, postgres, folder, cpuMs: () => services.reduce((sum, one) => sum + one.cpuMs(), 0), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

export interface ClusterPorts {
  readonly postgres: number
  readonly services: Readonly<Record<ServiceKind, readonly Ports[]>>
}

/** The ports of an earlier cluster in this folder, or free ones. */
async function portsOf(folder: string, counts: Record<ServiceKind, number>): Promise<ClusterPorts> {
  const file = join(folder, 'ports.json')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as ClusterPorts
  const services = {} as Record<ServiceKind, Ports[]>
  for (const kind of START_ORDER) {
    services[kind] = []
    for (let i = 0; i < counts[kind]; i += 1)
      services[kind].push({ grpc: await freePort(), membership: await freePort(), http: await freePort() })
  }
  const ports = { postgres: await freePort(), services }
  writeFileSync(file, JSON.stringify(ports))
  return ports
}

function postgresIn(folder: string, port: number) {
  const own = join(folder, 'postgres')
  mkdirSync(own, { recursive: true })
  return { durable: true, folder: own, port }
}

/** docker-compose.yml's variables, with the addresses of this machine. */
export function environmentOf(
  { environment, dynamicConfig }: ComposeSettings,
  { services }: ClusterPorts,
  postgres: Pick<Postgres, 'port'>,
): Record<string, string> {
  const [frontend] = services.frontend as [Ports]
  return {
    ...environment,
    ...{ POSTGRES_SEEDS: '127.0.0.1', DB_PORT: String(postgres.port), POSTGRES_USER: 'softbounce', POSTGRES_PWD: 'trusted' },
    ...{ BIND_ON_IP: '127.0.0.1', TEMPORAL_BROADCAST_ADDRESS: '127.0.0.1', DYNAMIC_CONFIG_FILE_PATH: dynamicConfig },
    PUBLIC_FRONTEND_ADDRESS: `127.0.0.1:${frontend.grpc}`,
    // each process names the first frontend as the cluster's address
    ...portVariables('frontend', frontend),
    LOG_LEVEL: 'warn',
  }
}

function portVariables(kind: ServiceKind, { grpc, membership, http }: Ports): Record<string, string> {
  const name = kind.toUpperCase()
  const variables = { [`${name}_GRPC_PORT`]: String(grpc), [`${name}_MEMBERSHIP_PORT`]: String(membership) }
  return kind === 'frontend' ? { ...variables, FRONTEND_HTTP_PORT: String(http) } : variables
}

function makeSchema({ schemaScript }: ComposeSettings, programs: string, postgres: Postgres) {
  const env = {
    PATH: `${programs}${delimiter}${process.env.PATH ?? ''}`,
    ...{
      SQL_PLUGIN: 'postgres12',
      SQL_HOST: '127.0.0.1',
      SQL_PORT: String(postgres.port),
      SQL_USER: 'softbounce',
      SQL_PASSWORD: 'trusted',
    },
  }
  execFileSync('/bin/sh', [schemaScript], { env, stdio: 'pipe' })
}

async function registerNamespace(settings: ComposeSettings, address: string, say: (line: string) => void) {
  const cli = await findProgram(TEMPORAL_CLI, say)
  const env = {
    PATH: `${dirname(cli)}${delimiter}${process.env.PATH ?? ''}`,
    ...{ TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: 'default', RETENTION: settings.retention },
  }
  execFileSync('/bin/sh', [settings.namespaceScript], { env, stdio: 'pipe' })
}
