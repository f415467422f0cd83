#!/bin/bash
# All tests, first on SQLite, then on a PostgreSQL that is started for them what has to do with a database.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
unset DATABASE_URL BROKER_URL DATA_DIR HOST PORT
# Most tests wait for servers more than they compute.
workers=${WAYBILL_TEST_WORKERS:-$(($(nproc) * 2))}
pytest=("$python" -m pytest -n "$workers" --dist loadgroup -q "$@")
# Adapters know no database, and the client programs ask the gateway nothing that tests/wire does not ask it too.
without_database=(--ignore=tests/adapters --ignore=tests/bench --ignore=tests/zoo --ignore-glob='tests/wire/test_stage_sh*')

echo "== on SQLite"
"${pytest[@]}"
echo "== on PostgreSQL"
exec "$python" -m tests.servers.with_postgres "${pytest[@]}" "${without_database[@]}"
