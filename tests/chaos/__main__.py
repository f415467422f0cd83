"""`python -m tests.chaos sqlite|postgresql` sets an installation up, lets chaos reign and tells whether it got over it.

CHAOS_SEED is what the dice begin with, CHAOS_KILLS how many are killed, CHAOS_SECONDS how long it may take at most.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import django

from tests.servers.postgres import Postgres
from tests.servers.process import ProgramMissing
from tests.servers.redis import Redis


def main(vendor: str) -> int:
    """0 where all is well; the reasons where it is not are printed."""
    seed = int(os.environ.get("CHAOS_SEED") or time.time_ns() % 10**6)
    kills, seconds = int(os.environ.get("CHAOS_KILLS") or 100), float(os.environ.get("CHAOS_SECONDS") or 60)
    print(f"== chaos on {vendor}: CHAOS_SEED={seed} CHAOS_KILLS={kills} CHAOS_SECONDS={seconds:g}", flush=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # What is written at once costs little there.
    folder = Path(tempfile.mkdtemp(prefix="waybill-chaos-", dir=memory))
    try:
        with ExitStack() as servers:
            redis = servers.enter_context(Redis(folder / "redis"))
            postgres = None
            if vendor == "postgresql":
                postgres = servers.enter_context(Postgres(settings={"synchronous_commit": "on"}))
            os.environ.update(
                DATA_DIR=str(folder),
                DATABASE_URL=postgres.create_database("chaos") if postgres else "",
                BROKER_URL=redis.url,
                DJANGO_SETTINGS_MODULE="gateway.settings",
                WAYBILL_LOG_LEVEL="warning",
                WAYBILL_GRACEFUL_S="1",
            )
            django.setup()
            from tests.chaos import run  # Models can be loaded only now.

            run.chaos(folder, redis, postgres, seed, run.Extent(kills, seconds))
    except AssertionError as exc:
        print(f"BROKEN, CHAOS_SEED={seed}:\n{exc}\n{_last_words(folder)}")
        return 1
    except ProgramMissing as exc:
        print(exc)
        return 77
    finally:
        if kept := os.environ.get("CHAOS_KEEP"):
            shutil.copytree(folder, kept, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _last_words(folder: Path) -> str:
    log = folder / "processes.log"
    return log.read_text(errors="replace")[-6000:] if log.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
