#!/bin/bash
# All tests, on SQLite and, side by side with these, on a PostgreSQL that is started for them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
unset DATABASE_URL BROKER_URL DATA_DIR HOST PORT WAYBILL_TEST_ONLY_CATALOG
pytest=("$python" -m pytest --dist loadgroup -q "$@")
# Most tests wait for servers more than they compute; each process, however, has to collect all tests first.
on_sqlite=${WAYBILL_TEST_WORKERS:-$(($(nproc) * 2))}
on_postgres=$(((on_sqlite * 3 + 3) / 4))
# What has no database need not be collected twice; of the rest tests/conftest.py leaves out what does not ask for it.
without_database=(--ignore=tests/adapters --ignore=tests/bench --ignore=tests/chaos)

# pytest compiles every test anew, in every process, unless the result may be kept; here it is made once for all.
unset PYTHONDONTWRITEBYTECODE
compile() { "$python" -m pytest --collect-only -qq "$@" >/dev/null 2>&1 || true; } # The run itself says what is wrong.
compile tests/adapters & compile "${without_database[@]}" & wait

said=$(mktemp) other=""
stop() {
    [ -z "$other" ] || kill -INT -- "-$other" 2>/dev/null || true
    wait
    rm -f "$said"
}
trap stop EXIT
trap 'exit 130' INT TERM
set -m # A group of its own, which an interrupt can be sent to.
WAYBILL_TEST_ONLY_CATALOG=yes "$python" -m tests.servers.with_postgres \
    "${pytest[@]}" -n "$on_postgres" "${without_database[@]}" >"$said" 2>&1 &
other=$!
set +m

ended=0
echo "== on SQLite"
"${pytest[@]}" -n "$on_sqlite" || ended=$?
echo "== on PostgreSQL"
wait "$other" || ended=$?
other=""
cat "$said"
exit "$ended"
