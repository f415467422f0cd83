"""`python -m tests.bench.wakeups FOLDER`: how long readers wait after a publish, over the database of DATABASE_URL.

Prints one line of JSON for each kind of reader and number of them: all latencies in seconds.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import urllib.request
from pathlib import Path

import django

READERS = (1, 50, 500)
#: Rounds by the number of readers, for those who wait and for those who poll.
ROUNDS = {True: {1: 30, 50: 8, 500: 1}, False: {1: 3, 50: 1, 500: 1}}
#: Everybody fits: what the bound does is no question of speed.
SETTINGS = {"WAYBILL_THREADS": "600", "WAYBILL_MAX_WAITERS": "520"}
BODY = b"x" * 4096


def main() -> None:
    django.setup()
    from django.conf import settings

    from staging.models import Object
    from staging.states import AliasMode
    from staging.storages import StorageSpec
    from tests.bench import lab
    from tests.bench.crowd import POLL_S, Crowd
    from tests.servers.gateway import Gateway

    folder = Path(sys.argv[1])
    root = Path(settings.LOCAL_ROOTS[0]) / "bench"
    root.mkdir(parents=True)
    bucket = lab.Lab(folder).bucket(StorageSpec("bench-waiting", "local", {"root": str(root)}, tier=1))
    with Gateway(folder, settings.DATABASE_URL, Path(settings.DATA_DIR), settings=SETTINGS) as gateway:

        def round_of(readers: int, wait: bool, key: str) -> list[float]:
            """Latencies of one upload: from when the catalog takes it, just before its commit, to each first byte."""
            [up] = lab.urls(gateway, bucket, [key], AliasMode.WRITE)
            down = lab.urls(gateway, bucket, [key] * readers, AliasMode.READ)
            crowd = Crowd(gateway.port, [url.removeprefix(gateway.url) for url in down], wait)
            publisher = threading.Thread(target=publish, args=[up, readers, wait])
            publisher.start()
            crowd.run()
            publisher.join()
            published_at = Object.objects.get(bucket=bucket, key=key).created_at.timestamp()
            return [first - published_at for first in crowd.first_bytes]

        def publish(url: str, readers: int, wait: bool) -> None:
            if wait:
                while waiting() < readers:
                    time.sleep(0.02)
            else:
                time.sleep(1.5 * POLL_S)
            urllib.request.urlopen(urllib.request.Request(url, BODY, method="PUT"), timeout=60).close()

        def waiting() -> int:
            with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=60) as answer:
                found = re.search(r"^waybill_waiters (\S+)$", answer.read().decode(), re.MULTILINE)
            return int(float(found[1])) if found else 0

        for number in range(3):
            round_of(1, True, f"warm/{number}")
        for wait in (True, False):
            for readers in READERS:
                latencies: list[float] = []
                for number in range(ROUNDS[wait][readers]):
                    latencies += round_of(readers, wait, f"{wait}/{readers}/{number}")
                print(json.dumps({"wait": wait, "readers": readers, "seconds": latencies}), flush=True)


if __name__ == "__main__":
    main()
