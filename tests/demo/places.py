"""Where the demo's objects lie: the gateway's own local storage, an sshd and an S3 server started for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.demo.engine import Engine, Failed
from tests.servers.sshd import Sshd
from tests.servers.swift import ACCESS_KEY, REGION, SECRET_KEY, Swift

#: How long a worker may take to remove the bytes of deleted objects.
REMOVED_WITHIN_S = 60


@contextlib.contextmanager
def local_disk(_engine: Engine, _folder: Path) -> Iterator[tuple[str, str]]:
    """The storage and bucket that every installation begins with."""
    yield "local", "scratch"


@contextlib.contextmanager
def sftp(engine: Engine, folder: Path) -> Iterator[tuple[str, str]]:
    """A real OpenSSH server, its host key known, logged in to by key."""
    with Sshd(folder / "sshd") as server:
        credential = {"private_key": server.key_file.read_text()}
        with _registered(engine, f"sftp-{folder.name}", "sftp", server.options(), credential) as place:
            yield place


@contextlib.contextmanager
def s3(engine: Engine, folder: Path) -> Iterator[tuple[str, str]]:
    """OpenStack Swift with its S3 face."""
    with Swift(folder / "swift") as server:
        server.create_bucket("demo")
        options = {"endpoint": server.endpoint, "region": REGION, "bucket": "demo", "path_style": True}
        credential = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        with _registered(engine, f"s3-{folder.name}", "s3", options, credential) as place:
            yield place


PLACES = {"local disk": local_disk, "SFTP": sftp, "S3": s3}


@contextlib.contextmanager
def _registered(
    engine: Engine, name: str, scheme: str, options: dict[str, Any], credential: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """A storage and a bucket on it, both called ``name`` and both forgotten at the end."""
    engine.call("POST", "storages", {"name": name, "scheme": scheme, "options": options, "credential": credential})
    try:
        engine.call("POST", "buckets", {"name": name, "storage": name})
        try:
            yield name, name
        finally:
            _until_removed(engine, f"buckets/{name}")
    finally:
        _until_removed(engine, f"storages/{name}")


def _until_removed(engine: Engine, path: str) -> None:
    """Removing is refused for as long as a worker still removes the bytes of deleted objects."""
    deadline = time.monotonic() + REMOVED_WITHIN_S
    while True:
        try:
            engine.call("DELETE", path)
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)  # between two looks
        else:
            return
