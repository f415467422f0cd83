#!/bin/bash
# The whole byte-cut sweep and long histories, first on SQLite, then on a PostgreSQL that is started for them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
unset DATABASE_URL BROKER_URL DATA_DIR HOST PORT
export SWEEP=full SWEEP_SEED=${SWEEP_SEED:-$RANDOM} SWEEP_SECONDS=${SWEEP_SECONDS:-}
pytest=("$python" -m pytest -q -s -p no:xdist -p no:randomly --timeout 0 tests/sweep "$@")

echo "== on SQLite, SWEEP_SEED=$SWEEP_SEED"
"${pytest[@]}"
echo "== on PostgreSQL, SWEEP_SEED=$SWEEP_SEED"
exec "$python" -m tests.servers.with_postgres "${pytest[@]}"
