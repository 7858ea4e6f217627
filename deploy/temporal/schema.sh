#!/bin/sh
# Makes Temporal's two databases in PostgreSQL, or brings them up to this version. May run again at any time.
# Needs temporal-sql-tool, and SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD and SQL_PLUGIN (postgres12) in the environment.
set -eu
for store in temporal visibility; do
  database=temporal
  [ "$store" = visibility ] && database=temporal_visibility
  export SQL_DATABASE="$database"
  # only the first run creates the database and its table of versions: later runs update it
  if ! temporal-sql-tool update-schema --schema-name "postgresql/v12/$store" 2>/dev/null; then
    temporal-sql-tool create-database || true
    temporal-sql-tool setup-schema --version 0.0
    temporal-sql-tool update-schema --schema-name "postgresql/v12/$store"
  fi
done
