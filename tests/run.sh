#!/bin/bash
# All tests, first on SQLite, then on a PostgreSQL that is started for them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
unset DATABASE_URL BROKER_URL DATA_DIR HOST PORT WAYBILL_TEST_ONLY_CATALOG
# Most tests wait for servers more than they compute.
workers=${WAYBILL_TEST_WORKERS:-$(($(nproc) * 3))}
pytest=("$python" -m pytest -n "$workers" --dist loadgroup -q "$@")
# What has no database need not be collected twice; of the rest tests/conftest.py leaves out what does not ask for it.
without_database=(--ignore=tests/adapters --ignore=tests/bench --ignore=tests/chaos)

# pytest compiles every test anew, in every process, unless the result may be kept; here it is made once for all.
unset PYTHONDONTWRITEBYTECODE
compile() { "$python" -m pytest --collect-only -qq "$@" >/dev/null 2>&1 || true; } # The run itself says what is wrong.
compile tests/adapters & compile "${without_database[@]}" & wait

echo "== on SQLite"
"${pytest[@]}"
echo "== on PostgreSQL"
export WAYBILL_TEST_ONLY_CATALOG=yes
exec "$python" -m tests.servers.with_postgres "${pytest[@]}" "${without_database[@]}"
