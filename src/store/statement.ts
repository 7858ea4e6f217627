/** Statements that run often: built and compiled once, prepared once on each connection. */
import { type Compilable, type CompiledQuery, type Kysely, PostgresAdapter, type QueryResult, type RawBuilder, sql } from 'kysely'
import type { DatabaseKind } from './database-kind.js'
import { prepareByName } from './prepared-names.js'
import type { Tables } from './tables.js'

/** Stands for a value in a compiled statement. */
class Placeholder {
  constructor(readonly name: string) {}
}

/** The database that a statement is built for; `clock` overrides the database's. */
interface Target {
  readonly kind: DatabaseKind
  readonly clock?: (() => Date) | undefined
}

type Value<Values> = <Name extends keyof Values & string>(name: Name) => RawBuilder<Values[Name]>

/**
 * A statement with named values.
 * @example
 * const touch = new Statement<{ key: string; at: number }>((db, value) =>
 *   db.updateTable('messages').set({ used_at: value('at') }).where('key', '=', value('key')))
 * await touch.run(db, { key, at: Date.now() })
 */
export class Statement<Values extends object, Row = unknown> {
  /** By the adapter, which all transactions of a database share. */
  readonly #compiled = new WeakMap<object, CompiledQuery<Row>>()

  constructor(private readonly build: (db: Kysely<Tables>, value: Value<Values>, target: Target) => Compilable<Row>) {}

  /**
   * @param db the database, or a transaction on it.
   * @param values an array is one value: a list for `among`, or rows for `givenRows`.
   */
  run(db: Kysely<Tables>, values: Values, clock?: () => Date): Promise<QueryResult<Row>> {
    const { adapter } = db.getExecutor()
    const kind = adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
    const compiled = this.#compile(db, { kind, clock })
    const bound = (given: unknown) => (given instanceof Placeholder ? asParameter(kind, values[given.name as keyof Values]) : given)
    return db.executeQuery({ ...compiled, parameters: compiled.parameters.map(bound) })
  }

  /** Its rows. */
  async rows(db: Kysely<Tables>, values: Values, clock?: () => Date): Promise<Row[]> {
    return (await this.run(db, values, clock)).rows
  }

  #compile(db: Kysely<Tables>, target: Target): CompiledQuery<Row> {
    const { adapter } = db.getExecutor()
    const known = this.#compiled.get(adapter)
    // a clock of one's own stands in the text
    if (known !== undefined && target.clock === undefined) return known
    const compiled = this.build(db, (name) => sql`${new Placeholder(name)}`, target).compile()
    if (target.clock !== undefined) return compiled
    prepareByName(compiled.sql)
    this.#compiled.set(adapter, compiled)
    return compiled
  }
}

const asParameter = (kind: DatabaseKind, value: unknown): unknown =>
  Array.isArray(value) && (kind === 'sqlite' || typeof value[0] === 'object') ? JSON.stringify(value, storable) : value

/** A text that was cut within a character is no valid UTF-8, which SQLite would store all the same; PostgreSQL stores no NUL. */
const storable = (_key: string, value: unknown): unknown => (typeof value === 'string' ? value.replace(UNSTORABLE, '\ufffd') : value)

const UNSTORABLE = /[\p{Surrogate}\0]/gu
