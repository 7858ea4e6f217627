/**
 * Faults of the database itself: a standby, a restart, too many connections, a full disk. A fault of one statement (a duplicate key) is none.
 * SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html; SQLite's: https://www.sqlite.org/rescode.html
 */

/** What is wrong with the database, and what an operator does about it. */
export interface DatabaseFault {
  /** What it means, such as `it accepts no writes: it is a standby, or set to read-only`. */
  readonly text: string
  readonly action: string
  /** Other connections to the same server have it too: none of them is used again. */
  readonly invalidatesPool: boolean
}

const STANDBY: DatabaseFault = {
  text: 'it accepts no writes: it is a standby, or set to read-only',
  action:
    'point database.url at the primary; after a failover, the address that it names must lead there. If it is the primary, undo default_transaction_read_only',
  invalidatesPool: true,
}
const STOPPED: DatabaseFault = {
  text: 'the server is stopping, starting or restarting',
  action: 'nothing, if it is back soon; else start it',
  invalidatesPool: true,
}
const UNREACHABLE: DatabaseFault = {
  text: 'it cannot be reached',
  action: 'start it, correct database.url, or mend the network between',
  invalidatesPool: false,
}
const BROKEN: DatabaseFault = {
  text: 'a connection to it broke',
  action: 'nothing, if it happens once; if it repeats, look at the network and the poolers between',
  invalidatesPool: false,
}
const TOO_MANY: DatabaseFault = {
  text: 'it has no connection left for us',
  action: 'raise max_connections, stop what holds the others, or put PgBouncer between: each process of softbounce opens up to 10',
  invalidatesPool: false,
}
const BUSY: DatabaseFault = {
  text: 'all connections of this process are in use',
  action: 'look at what its statements wait for: the load, the disk, and locks (pg_stat_activity)',
  invalidatesPool: false,
}
const FULL: DatabaseFault = {
  text: 'its disk is full',
  action: 'free some of it, or enlarge it; nothing is lost meanwhile: retries wait, and the intake leaves mail with the mail system',
  invalidatesPool: false,
}
const SLOW: DatabaseFault = {
  text: 'a statement took too long and was ended',
  action: 'look at its disk, its load and its locks (pg_stat_activity)',
  invalidatesPool: false,
}
const DISK: DatabaseFault = {
  text: 'its files cannot be read or written',
  action: 'look at its disk, and at the rights of its files',
  invalidatesPool: false,
}
const LOGIN: DatabaseFault = {
  text: 'it refuses our login',
  action: 'correct the user, the password or the database in database.url',
  invalidatesPool: false,
}
const OTHER_SCHEMA: DatabaseFault = {
  text: 'its tables are not those of this version',
  action: 'run one version of softbounce for one database: finish the upgrade, or go back',
  invalidatesPool: false,
}

/** All connections of the pool are in use, and none became free in time. */
export class PoolBusy extends Error {
  override name = 'PoolBusy'
  constructor(cause: unknown) {
    super('all connections to the database are in use, and none became free in time', { cause })
  }
}

/** By SQLSTATE, by Node's error code, or by SQLite's result code; the first prefix that fits. */
const BY_CODE: readonly (readonly [RegExp, DatabaseFault])[] = [
  [/^25006$/, STANDBY],
  [/^57P0[1-4]$/, STOPPED],
  [/^(57P05|08|ECONNRESET|ECONNABORTED|EPIPE)/, BROKEN],
  [/^(53300|53400)$/, TOO_MANY],
  [/^(53100|SQLITE_FULL|ENOSPC)$/, FULL],
  [/^57014$/, SLOW],
  [/^(58|SQLITE_IOERR|SQLITE_READONLY|SQLITE_CANTOPEN|SQLITE_CORRUPT|SQLITE_NOTADB)/, DISK],
  [/^(28|3D000)/, LOGIN],
  [/^(42P01|42703|3F000)$/, OTHER_SCHEMA],
  [/^(ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/, UNREACHABLE],
]

/** What pg says without a code. */
const BY_TEXT: readonly (readonly [RegExp, DatabaseFault])[] = [
  [/^Query read timeout$/, SLOW],
  [/^(Connection terminated due to connection timeout|timeout exceeded when trying to connect|timeout expired)/, UNREACHABLE],
  [/^(Connection terminated|Client has encountered a connection error)/, BROKEN],
]

/** The database's fault that an error shows; null if the error is about its statement only. */
export function databaseFault(error: unknown): DatabaseFault | null {
  if (error instanceof PoolBusy) return BUSY
  const { code, message = '' } = (error instanceof AggregateError ? (error.errors[0] ?? error) : error) as {
    code?: unknown
    message?: string
  }
  const [, byCode] = BY_CODE.find(([pattern]) => typeof code === 'string' && pattern.test(code)) ?? []
  const [, byText] = BY_TEXT.find(([pattern]) => pattern.test(message)) ?? []
  return byCode ?? byText ?? null
}
