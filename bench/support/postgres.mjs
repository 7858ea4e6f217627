// A PostgreSQL of the bench's own, which waits for the disk; null if it is not installed.
import { startPostgres as start, withoutPostgres } from '../../dist-dev/postgres/index.js'

/** @param settings of the server, such as `shared_preload_libraries=pg_stat_statements`. */
export const startPostgres = async (settings = []) =>
  withoutPostgres === null ? start(['max_connections=200', ...settings], { durable: true }) : null
