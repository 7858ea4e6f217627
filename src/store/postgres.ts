/** PostgreSQL: every table in a schema of its own, and nothing that a pooler in transaction mode (PgBouncer) cannot pass on. */
import type { Socket } from 'node:net'
import { type Dialect, PostgresDialect, PostgresQueryCompiler, type SchemableIdentifierNode } from 'kysely'
import type { Pool, PoolClient } from 'pg'
import { databaseFault, PoolBusy } from './database-fault.js'
import { SHARED_TABLES, TABLE_NAMES } from './initial-schema.js'
import { BEGIN, isUnprepared, preparedName } from './prepared-names.js'

const POOL_SIZE = 10
const CONNECT_TIMEOUT_MS = 10_000
/**
 * The client's own limit. The server's (`statement_timeout`) would be a startup parameter, which PgBouncer refuses; an operator who wants it
 * sets it for the role, or adds `?options=-c statement_timeout=60s` to the URL.
 */
const QUERY_TIMEOUT_MS = 65_000
const INT8_OID = 20

/** The schema that holds the tables, and the one that holds those that fleets can share; often the same. */
export interface Schemas {
  readonly own: string
  readonly throttle: string
}

/** Puts the schema before the name of each of our tables. Aliases must differ from these names. */
class SchemaQueryCompiler extends PostgresQueryCompiler {
  constructor(private readonly schemas: Schemas) {
    super()
  }

  protected override visitSchemableIdentifier(node: SchemableIdentifierNode): void {
    const { name } = node.identifier
    const { own, throttle } = this.schemas
    if (node.schema === undefined && TABLE_NAMES.has(name)) this.append(`"${SHARED_TABLES.has(name) ? throttle : own}".`)
    super.visitSchemableIdentifier(node)
  }
}

class OwnSchemaDialect extends PostgresDialect {
  constructor(
    config: ConstructorParameters<typeof PostgresDialect>[0],
    private readonly schemas: Schemas,
  ) {
    super(config)
  }

  override createQueryCompiler(): PostgresQueryCompiler {
    return new SchemaQueryCompiler(this.schemas)
  }
}

/** What Kysely uses of a pool. */
type KyselyPool = Exclude<ConstructorParameters<typeof PostgresDialect>[0]['pool'], () => unknown>

/**
 * A pool that hands out no connection which a fault has spoilt. After a failover, connections to the old primary still answer, and accept no
 * writes: at the first such error none of the connections that were open then is used again.
 */
class CheckedPool {
  /** Grows with each fault of the server. */
  #generation = 0
  /** False behind a pooler that does not track prepared statements. */
  #prepares = true
  readonly #generations = new WeakMap<PoolClient, number>()

  constructor(
    private readonly pool: Pool,
    private readonly onError: (error: unknown) => void,
  ) {
    pool.on('error', (error) => this.#failed(error))
    pool.on('connect', (client) => {
      this.#generations.set(client, this.#generation)
      // a connection that breaks while in use emits an error, which would end the process without a listener
      client.on('error', (error) => this.#failed(error))
    })
  }

  get options(): Pool['options'] {
    return this.pool.options
  }

  async connect(): Promise<PoolClient> {
    for (;;) {
      const client = await this.pool.connect().catch((error: unknown) => {
        const known = this.#isBusy() ? new PoolBusy(error) : error
        this.#failed(known)
        throw known
      })
      if (this.#generations.get(client) === this.#generation) return this.#watched(client)
      client.release(true)
    }
  }

  /** All connections are in use: then the pool's own time limit says nothing of the server. */
  #isBusy(): boolean {
    return this.pool.totalCount >= POOL_SIZE && this.pool.idleCount === 0
  }

  end(): Promise<void> {
    return this.pool.end()
  }

  /** The connection; after a fault it is closed instead of going back to the pool. */
  #watched(client: PoolClient): PoolClient {
    let isSpoilt = false
    // `transact` repeats a transaction whose statements turn out not to be prepared; others are not repeated
    let transaction: 'none' | 'repeated' | 'other' = 'none'
    let hasFailed = false
    const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
    return new Proxy(client, {
      get: (target, name) => {
        if (name === 'release') return () => target.release(isSpoilt || this.#generations.get(target) !== this.#generation)
        if (name !== 'query') return Reflect.get(target, name, target)
        return (text: string, values: unknown[]): Promise<unknown> => {
          if (/^(begin|start transaction)\b/.test(text)) transaction = text.startsWith(BEGIN) ? 'repeated' : 'other'
          else if (/^(commit|rollback)$/.test(text)) transaction = 'none'
          if (transaction === 'none' || text.startsWith(BEGIN)) hasFailed = false
          const isAlone = transaction === 'none'
          inOnePacket(client)
          const prepared = this.#prepares && transaction !== 'other' ? preparedName(text) : undefined
          return query(prepared === undefined ? { text, values } : { name: prepared, text, values }).catch((error: unknown) => {
            // what follows a failure in the same transaction was not prepared because of it
            if (isUnprepared(error) && !hasFailed) {
              this.#prepares = false
              if (isAlone) return query({ text, values })
            }
            hasFailed = true
            // a query that ran out of time is still running there
            isSpoilt ||= this.#failed(error)
            throw error
          })
        }
      },
    })
  }

  /** @returns whether it is a fault of the database, and not of a statement. */
  #failed(error: unknown): boolean {
    const fault = databaseFault(error)
    if (fault?.invalidatesPool) this.#generation += 1
    this.onError(error)
    return fault !== null
  }
}

/** What is sent in this turn of the event loop leaves the machine together: each packet costs more than its statement. */
function inOnePacket(client: PoolClient): void {
  const { stream } = (client as unknown as { readonly connection?: { readonly stream?: Socket } }).connection ?? {}
  if (stream === undefined || stream.writableCorked > 0) return
  stream.cork()
  process.nextTick(() => stream.uncork())
}

async function openPool(url: string): Promise<Pool> {
  // loaded only for PostgreSQL
  const { default: pg } = await import('pg')
  const types = { getTypeParser: pg.types.getTypeParser.bind(pg.types) }
  return new pg.Pool({
    connectionString: url,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // otherwise a query on a silently cut connection would never end
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    // statements that are sent without waiting for each other travel together
    pipeline: true,
    types: {
      // times and counts are well within 2^53
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8_OID ? Number : types.getTypeParser(oid, format ?? 'text')) as typeof pg.types.getTypeParser,
    },
  })
}

/** @param onError called for each error of a statement or a connection. */
export function postgresDialect(url: string, schemas: Schemas, onError: (error: unknown) => void): Dialect {
  const pool = async () => new CheckedPool(await openPool(url), onError) as unknown as KyselyPool
  return new OwnSchemaDialect({ pool }, schemas)
}

/** Where it is, without its login. */
export function postgresPlace(url: string, { own, throttle }: Schemas): string {
  const { hostname, port, pathname } = URL.canParse(url) ? new URL(url) : { hostname: '', port: '', pathname: '' }
  return `PostgreSQL ${hostname || 'by socket'}${port === '' ? '' : `:${port}`}${pathname}, schema ${own}${throttle === own ? '' : `, limits in ${throttle}`}`
}
