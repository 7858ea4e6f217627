/** PostgreSQL: every table in a schema of its own, and nothing that a pooler in transaction mode (PgBouncer) cannot pass on. */
import { type Dialect, PostgresDialect, PostgresQueryCompiler, type SchemableIdentifierNode } from 'kysely'
import type { Pool, PoolClient } from 'pg'
import { TABLE_NAMES } from './initial-schema.js'

const POOL_SIZE = 10
const CONNECT_TIMEOUT_MS = 10_000
/**
 * The client's own limit. The server's (`statement_timeout`) would be a startup parameter, which PgBouncer refuses; an operator who wants it
 * sets it for the role, or adds `?options=-c statement_timeout=60s` to the URL.
 */
const QUERY_TIMEOUT_MS = 65_000
const INT8_OID = 20

/** Puts the schema before the name of each of our tables. Aliases must differ from these names. */
class SchemaQueryCompiler extends PostgresQueryCompiler {
  constructor(private readonly schema: string) {
    super()
  }

  protected override visitSchemableIdentifier(node: SchemableIdentifierNode): void {
    if (node.schema === undefined && TABLE_NAMES.has(node.identifier.name)) this.append(`"${this.schema}".`)
    super.visitSchemableIdentifier(node)
  }
}

class OwnSchemaDialect extends PostgresDialect {
  constructor(
    config: ConstructorParameters<typeof PostgresDialect>[0],
    private readonly schema: string,
  ) {
    super(config)
  }

  override createQueryCompiler(): PostgresQueryCompiler {
    return new SchemaQueryCompiler(this.schema)
  }
}

/** A connection whose query ran out of time is still busy with it: it is closed instead of going back to the pool. */
function closedAfterTimeout(client: PoolClient): PoolClient {
  let timedOut = false
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
  return new Proxy(client, {
    get: (target, name) => {
      if (name === 'release') return () => target.release(timedOut)
      if (name !== 'query') return Reflect.get(target, name, target)
      return (...args: unknown[]) =>
        query(...args).catch((error: Error) => {
          timedOut ||= /timeout/i.test(error.message)
          throw error
        })
    },
  })
}

async function openPool(url: string, onIdleError: (error: Error) => void): Promise<Pool> {
  // loaded only for PostgreSQL
  const { default: pg } = await import('pg')
  const types = { getTypeParser: pg.types.getTypeParser.bind(pg.types) }
  const pool = new pg.Pool({
    connectionString: url,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // otherwise a query on a silently cut connection would never end
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    types: {
      // times and counts are well within 2^53
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8_OID ? Number : types.getTypeParser(oid, format ?? 'text')) as typeof pg.types.getTypeParser,
    },
  })
  pool.on('error', onIdleError)
  // a connection that breaks while in use emits an error, which would end the process without a listener
  pool.on('connect', (client) => client.on('error', onIdleError))
  return pool
}

export function postgresDialect(url: string, schema: string, onIdleError: (error: Error) => void): Dialect {
  const pool = async () => {
    const opened = await openPool(url, onIdleError)
    return {
      options: opened.options,
      connect: async () => closedAfterTimeout(await opened.connect()),
      end: () => opened.end(),
    }
  }
  return new OwnSchemaDialect({ pool: pool as ConstructorParameters<typeof PostgresDialect>[0]['pool'] }, schema)
}

/** Where it is, without its login. */
export function postgresPlace(url: string, schema: string): string {
  const { hostname, port, pathname } = URL.canParse(url) ? new URL(url) : { hostname: '', port: '', pathname: '' }
  return `PostgreSQL ${hostname || 'by socket'}${port === '' ? '' : `:${port}`}${pathname}, schema ${schema}`
}
