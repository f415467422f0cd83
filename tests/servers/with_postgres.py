"""`python -m tests.servers.with_postgres COMMAND…` runs a command with DATABASE_URL naming a fresh PostgreSQL."""

import os
import subprocess
import sys

from tests.servers.postgres import Postgres
from tests.servers.process import ProgramMissing


def main() -> int:
    """The command's exit status; where PostgreSQL is missing, 0 with the reason, or 1 in CI."""
    try:
        with Postgres() as server:
            environment = {**os.environ, "DATABASE_URL": server.create_database("waybill")}
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    except ProgramMissing as exc:
        print(f"not run on PostgreSQL: {exc}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
