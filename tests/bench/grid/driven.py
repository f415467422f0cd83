"""A process that moves files as it is told: JSON orders in, one a line, and the seconds that each took out.

``python -m tests.bench.grid.driven`` first reads who is to do it: a ``kind`` of WORKERS and its settings. The order
``renew`` ends all connections, so that the next one holds the connecting, as it does for a client program; importing
and setting up are no part of it, as a worker of Waybill has done that once.
"""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from adapters import registry
from staging.pump import Hasher, pump


class Worker(ABC):
    """Moves one file, from any thread."""

    @abstractmethod
    def put(self, key: str, file: str) -> None: ...

    @abstractmethod
    def get(self, key: str, file: str) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class ByAdapter(Worker):
    """As a transfer does it: the pump moves the bytes to a session or from a stream and computes their SHA-256."""

    def __init__(self, *, scheme: str, options: dict[str, Any], credential: dict[str, Any], digest: bool) -> None:
        self._digests = ["sha256"] if digest else []
        self.adapter = registry.build(scheme, "bench", options, credential)

    def put(self, key: str, file: str) -> None:
        with open(file, "rb", buffering=0) as source, Hasher(self._digests) as hasher:
            size = source.seek(0, 2)
            source.seek(0)
            with self.adapter.open_write(key, size=size) as session:
                pump(source, session.write, hasher, on_progress=_ignore)
                hasher.finish()
                session.publish()

    def get(self, key: str, file: str) -> None:
        with (
            self.adapter.open_read(key) as stream,
            open(file, "wb", buffering=0) as target,
            Hasher(self._digests) as hasher,
        ):
            pump(stream, target.write, hasher, on_progress=_ignore)
            hasher.finish()

    def delete(self, key: str) -> None:
        self.adapter.delete(key)

    def require(self, key: str, size: int) -> None:
        found = self.adapter.stat(key).size
        if found != size:
            raise ValueError(f"{key} has {found} of {size} bytes")

    def close(self) -> None:
        self.adapter.close()


class ByBoto3(Worker):
    """boto3's managed transfer."""

    def __init__(self, *, bucket: str, **settings: Any) -> None:
        import boto3  # Loading it takes longer than all the rest, and the adapters' processes do without.
        from botocore.config import Config

        self._bucket = bucket
        # The adapter's client asks for no more checksums either.
        checksums = dict.fromkeys(("request_checksum_calculation", "response_checksum_validation"), "when_required")
        style = {"addressing_style": "path"}
        config = Config(signature_version="s3v4", s3=style, max_pool_connections=100, **checksums)
        self._client = boto3.client("s3", config=config, **settings)

    def put(self, key: str, file: str) -> None:
        self._client.upload_file(file, self._bucket, key)

    def get(self, key: str, file: str) -> None:
        self._client.download_file(self._bucket, key, file)

    def close(self) -> None:
        self._client.close()


class ByIrodsClient(Worker):
    """python-irodsclient's own put and get, without threads of its own, which the stand-in does not know."""

    def __init__(self, *, root: str, **account: Any) -> None:
        from irods.session import iRODSSession

        self._root = root
        self._session = iRODSSession(**account)

    def put(self, key: str, file: str) -> None:
        self._session.data_objects.put(file, f"{self._root}/{key}", num_threads=1)

    def get(self, key: str, file: str) -> None:
        self._session.data_objects.get(f"{self._root}/{key}", file, num_threads=1, forceFlag="")

    def close(self) -> None:
        self._session.cleanup()


WORKERS: dict[str, Callable[..., Worker]] = {"adapter": ByAdapter, "boto3": ByBoto3, "irodsclient": ByIrodsClient}


def obey(worker: Worker, deed: str, lanes: Sequence[Sequence[Sequence[Any]]]) -> float:
    """The seconds that it took to do the deed with all that is in the lanes, in a thread for each of these."""

    def run(lane: Sequence[Sequence[Any]]) -> None:
        for words in lane:
            getattr(worker, deed)(*words)

    began = time.perf_counter()
    if len(lanes) == 1:
        run(lanes[0])
    else:
        with ThreadPoolExecutor(len(lanes)) as threads:
            for _ in threads.map(run, lanes):
                pass
    return time.perf_counter() - began


def _ignore(_: int) -> None:
    """Nobody watches the progress here."""


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    make = partial(WORKERS[settings.pop("kind")], **settings)
    worker = make()
    for line in sys.stdin:
        order = json.loads(line)
        if order["deed"] == "renew":
            worker.close()
            worker = make()
            print(0.0, flush=True)
        else:
            print(obey(worker, **order), flush=True)
    worker.close()


if __name__ == "__main__":
    main()
