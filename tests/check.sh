#!/bin/bash
# Everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
DATA_DIR=$(mktemp -d)
export DATA_DIR
trap 'rm -rf "$DATA_DIR"' EXIT

step() { echo "== $1"; shift; "$@"; }

step "format" "$bin/ruff" format --check --quiet .
step "lint" "$bin/ruff" check --quiet .
step "types" "$bin/mypy"
step "layers" "$bin/lint-imports" --no-cache
step "migrations in step" "$bin/python" manage.py makemigrations --check --dry-run
step "system checks" "$bin/python" -W error manage.py check --fail-level WARNING
step "OpenAPI" "$bin/python" manage.py spectacular --validate --fail-on-warn --file /dev/null
