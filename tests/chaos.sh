#!/bin/bash
# Hundreds of kills on each database, again and again: CHAOS_SEED, CHAOS_KILLS and CHAOS_SECONDS bound one run.
set -euo pipefail
cd "$(dirname "$0")/.."
unset DATABASE_URL BROKER_URL DATA_DIR HOST PORT
export CHAOS_KILLS=${CHAOS_KILLS:-500} CHAOS_SECONDS=${CHAOS_SECONDS:-600}
for vendor in postgresql sqlite; do
    .venv/bin/python -m tests.chaos "$vendor"
done
