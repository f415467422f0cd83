"""`make demo`: plays the workflow on every kind of storage that this machine can serve."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.demo.engine import Engine, Failed
from tests.demo.places import PLACES
from tests.demo.play import Play
from tests.servers.gateway import ROOT
from tests.servers.ports import free_port
from tests.servers.process import Process, ProgramMissing, ServerFailed

WORDS = """\
Job 1 computes a file and uploads it; job 2 downloads it, checks its SHA-256, computes and uploads its result. Each is a
process that is given the URLs of its aliases and nothing else: no login, no library, only curl. The engine asks the
REST API for the aliases and looks at what came of them. Each line ends in the seconds since its storage's turn began.
"""


def main() -> int:
    """0 when all went well; a storage that is skipped is a failure in CI alone."""
    print(WORDS, flush=True)
    skipped, played = [], []
    with tempfile.TemporaryDirectory(prefix="waybill-demo-") as name:
        try:
            with running_gateway(Path(name)) as engine:
                for kind in PLACES:
                    try:
                        play(engine, kind, Path(name))
                        played.append(kind)
                    except ProgramMissing as exc:
                        skipped.append(kind)
                        print(f"  skipped: {exc}", flush=True)
        except (Failed, ServerFailed, OSError) as exc:
            print(f"\nFAILED: {exc}")
            return 1
        except KeyboardInterrupt:
            print("\nStopped.")
            return 130
    print(f"\nOK: the workflow ran on {', '.join(played)}" + (f"; skipped: {', '.join(skipped)}" if skipped else ""))
    return 1 if skipped and os.environ.get("CI") else 0


def play(engine: Engine, kind: str, parent: Path) -> None:
    """Raises Failed, its message beginning with the storage's kind, and ProgramMissing."""
    print(f"\n{kind}", flush=True)
    folder = parent / secrets.token_hex(3)
    folder.mkdir()
    try:
        with PLACES[kind](engine, folder) as (storage, bucket):
            run = Play(engine, storage, bucket, folder)
            try:
                run.all_steps()
            finally:
                run.clean()
    except Failed as exc:
        raise Failed(f"{kind}: {exc}") from exc


@contextlib.contextmanager
def running_gateway(folder: Path) -> Iterator[Engine]:
    """The gateway of DATA_DIR if one answers there, else one of our own for as long as this takes."""
    found = Engine.from_quickstart(Path(os.environ.get("DATA_DIR") or ROOT / "data") / "quickstart.env")
    if found:
        print(f"Using the gateway at {found.url}")
        yield found
        return
    data_dir = folder / "data"
    own = {"DATA_DIR": str(data_dir), "PORT": str(free_port()), "HOST": "", "DATABASE_URL": "", "BROKER_URL": ""}
    began = time.monotonic()
    arguments = [sys.executable, str(ROOT / "manage.py"), "up"]
    process = Process.start("up", arguments, log=folder / "up.log", env={**os.environ, **own})
    try:
        process.wait_ready(
            lambda: Engine.from_quickstart(data_dir / "quickstart.env") is not None, what="the gateway answers"
        )
        engine = Engine.from_quickstart(data_dir / "quickstart.env")
        if engine is None:
            raise Failed("the gateway stopped answering")
        print(f"Started a gateway at {engine.url} in {time.monotonic() - began:.1f} s")
        yield engine
    finally:
        process.stop(timeout_s=40)


if __name__ == "__main__":
    sys.exit(main())
