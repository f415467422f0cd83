"""What the kit's other process does: ``python -m adapters.testkit.deeds``, one JSON order in and one answer out."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from adapters import registry
from adapters.base import CHUNK_BYTES, Adapter, WriteSession
from adapters.testkit.base import Contract


def suspend(_: Adapter, session: WriteSession, size: int) -> dict[str, object]:
    session.write(Contract.content(2 * size)[:size])
    return {"token": session.suspend()}


def die(_: Adapter, session: WriteSession, size: int) -> dict[str, object]:
    session.write(Contract.content(2 * size)[:size])
    print("{}", flush=True)  # noqa: T201 - the answer, before there is nobody left to give it
    os._exit(0)


def bulk(adapter: Adapter, session: WriteSession, size: int) -> dict[str, object]:
    block = Contract.content(CHUNK_BYTES)
    before = _peak_bytes()
    written, read, read_bytes = hashlib.sha256(), hashlib.sha256(), 0
    while session.offset < size:
        piece = memoryview(block)[: size - session.offset]
        session.write(piece)
        written.update(piece)
    session.publish()
    with adapter.open_read(session.key) as stream:
        while piece_read := stream.read():
            read.update(piece_read)
            read_bytes += len(piece_read)
    return {
        "written_digest": written.hexdigest(),
        "read_digest": read.hexdigest(),
        "read_bytes": read_bytes,
        "grown_bytes": _peak_bytes() - before,
    }


def _peak_bytes() -> int:
    """The most memory this program has had. getrusage(2) would also count the larger one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    order = json.load(sys.stdin)
    adapter = registry.build(order["scheme"], "elsewhere", order["options"], order["credential"])
    deed = {"suspend": suspend, "die": die, "bulk": bulk}[order["deed"]]
    with adapter.open_write(order["key"], size=order["size"]) as session:
        told = deed(adapter, session, order["bytes"])
    adapter.close()
    print(json.dumps(told))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
