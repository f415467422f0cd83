"""A process that drives one adapter without a gateway: JSON orders in, one a line, and the seconds that each took out.

``python -m tests.bench.driven`` first reads the settings of the storage. Every order is done by an adapter of its own,
so that the time holds the logging in, as it does for a client program; it stays open until the next order, which may be
to ``rest``, so that what it holds can be looked at.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from adapters import registry
from adapters.base import CHUNK_BYTES, Adapter


def put(adapter: Adapter, key: str, file: str) -> None:
    with open(file, "rb", buffering=0) as source:
        size = source.seek(0, 2)
        source.seek(0)
        with adapter.open_write(key, size=size) as session:
            while data := source.read(CHUNK_BYTES):
                session.write(data)
            session.publish()


def get(adapter: Adapter, key: str, file: str) -> None:
    with adapter.open_read(key) as stream, open(file, "wb", buffering=0) as target:
        while data := stream.read():
            target.write(data)


def put_all(adapter: Adapter, keys: Sequence[str], file: str) -> None:
    for key in keys:
        put(adapter, key, file)


def get_all(adapter: Adapter, keys: Sequence[str], file: str) -> None:
    for key in keys:
        get(adapter, key, file)


def delete(adapter: Adapter, key: str) -> None:
    adapter.delete(key)


DEEDS: dict[str, Callable[..., None]] = {each.__name__: each for each in (put, get, put_all, get_all, delete)}


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    adapter: Adapter | None = None
    for line in sys.stdin:
        order = json.loads(line)
        if adapter is not None:
            adapter.close()
            adapter = None
        began = time.perf_counter()
        if order["deed"] == "rest":
            print(0.0, flush=True)
            continue
        adapter = registry.build("sftp", "bench", settings["options"], settings["credential"])
        DEEDS[order.pop("deed")](adapter, **order)
        print(time.perf_counter() - began, flush=True)
    if adapter is not None:
        adapter.close()


if __name__ == "__main__":
    main()
