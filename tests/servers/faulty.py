"""Storages that fail when a test says so: the kind ``faulty``, a local folder that is streamed, never sent by sendfile.

A fault is a file in the folder ``<root>.faults`` named like the step that it hits, so that a test reaches an adapter in
any process. ``install`` makes the kind known to a process; a gateway does so with ``WSGI`` as its application.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from adapters import errors, registry
from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream, WriteMode, WriteSession
from adapters.errors import AdapterError
from adapters.local import LocalAdapter
from adapters.local_streams import LocalWrite
from adapters.tokens import WriteToken
from tests.servers.process import wait_until

WSGI = "tests.servers.faulty_wsgi:application"

#: What can fail; ``copy`` is what the storage does by itself. ``published`` comes after the bytes became visible, and
#: ``deleted`` after they are gone, both before anybody is told.
STEPS = (
    "stat",
    "open_read",
    "read",
    "open_write",
    "write",
    "copy",
    "publish",
    "published",
    "abort",
    "delete",
    "deleted",
    "resume",
    "flip",
)


def install() -> None:
    """Make the kind known to this process."""
    registry._OWN["faulty"] = "tests.servers.faulty:FaultyAdapter"


class Faults:
    """What fails below one root, or waits there."""

    def __init__(self, root: Path) -> None:
        self._folder = root.with_name(f"{root.name}.faults")

    def fail(self, step: str, error: type[AdapterError], *, from_byte: int = 0, once: bool = False) -> None:
        """Let the step raise as soon as that many bytes have passed: always, or only the first time."""
        self._set(step, {"error": error.__name__, "from_byte": from_byte, "once": once})

    def slow(self, step: str, seconds: float) -> None:
        """Let the step take so long."""
        self._set(step, {"seconds": seconds})

    def flip_once(self) -> None:
        """Let the next piece that is read come with one wrong bit; where it lies it stays right."""
        self._set("flip", {})

    def touch(self, data: bytes) -> bytes:
        """The adapter's side of that."""
        try:
            (self._folder / "flip").unlink()
        except FileNotFoundError:
            return data
        return bytes([data[0] ^ 1]) + data[1:]

    def count_reads(self) -> None:
        """From now on let all processes tell how many bytes they read."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / "count").touch()

    def bytes_read(self) -> int:
        """How many that were, by streams that are closed."""
        return sum(map(int, (self._folder / "count").read_text().split()))

    def note_read(self, moved: int) -> None:
        """The adapter's side of that."""
        path = self._folder / "count"
        if path.exists():
            with path.open("a") as told:
                told.write(f"{moved}\n")  # At once and whole: it is appended by one call when the file is closed.

    def hold(self, step: str) -> None:
        """Let whoever comes to the step wait there until ``heal``."""
        self._set(step, {})

    def wait_until_held(self, step: str) -> None:
        """Return once somebody waits at the step."""
        wait_until(lambda: self.is_held(step), what=f"{step} is reached")

    def is_held(self, step: str) -> bool:
        """Whether anybody has come to wait at the step."""
        return (self._folder / f"{step}.reached").exists()

    def heal(self) -> None:
        """Let everything work, and go on."""
        if self._folder.exists():
            for fault in self._folder.iterdir():
                fault.unlink(missing_ok=True)

    def meet(self, step: str, key: str, moved: int = 0) -> None:
        """The adapter's side: raise or wait where the test wants it."""
        path = self._folder / step
        try:
            fault = json.loads(path.read_text())
        except FileNotFoundError:
            return
        if not fault:
            path.with_name(f"{step}.reached").touch()
            wait_until(lambda: not path.exists(), what=f"{step} may go on", timeout_s=60)
        elif "seconds" in fault:
            time.sleep(fault["seconds"])
        elif moved >= fault["from_byte"]:
            if fault["once"]:
                path.unlink()
            raise getattr(errors, fault["error"])("the test wants it", storage="faulty", key=key)

    def _set(self, step: str, fault: Mapping[str, object]) -> None:
        assert step in STEPS
        self._folder.mkdir(exist_ok=True)
        fresh = self._folder / f"{step}.new"
        fresh.write_text(json.dumps(fault))
        fresh.rename(self._folder / step)


class FaultyAdapter(LocalAdapter):
    """A local folder; each step meets its fault first."""

    scheme: ClassVar[str] = "faulty"

    def __init__(self, name: str, root: str, *, sync: bool = True) -> None:
        super().__init__(name, root, sync=sync)
        self.faults = Faults(Path(root))

    def stat(self, key: str) -> ObjectStat:
        self.faults.meet("stat", key)
        return super().stat(key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        self.faults.meet("open_read", key)
        return FaultyRead(self.faults, super().open_read(key, start, stop, version=version))

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        self.faults.meet("open_write", key)
        return super().open_write(key, size=size, mode=mode)

    def _begin(self, token: WriteToken) -> FaultyWrite:  # type: ignore[override]
        return FaultyWrite(self.faults, super()._begin(token))

    def resume_write(self, token: str) -> WriteSession:
        self.faults.meet("resume", token)
        return FaultyWrite(self.faults, super().resume_write(token))

    def delete(self, key: str) -> None:
        self.faults.meet("delete", key)
        super().delete(key)
        self.faults.meet("deleted", key)


class FaultyRead(ReadStream):
    def __init__(self, faults: Faults, inner: ReadStream) -> None:
        self.stat, self.start, self.stop = inner.stat, inner.start, inner.stop
        self._faults, self._inner, self._moved = faults, inner, 0

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        self._faults.meet("read", self.stat.key, self._moved)
        data = self._faults.touch(self._inner.read(max_bytes))
        self._moved += len(data)
        return data

    def close(self) -> None:
        self._faults.note_read(self._moved)
        self._moved = 0
        self._inner.close()


class FaultyWrite(WriteSession):
    def __init__(self, faults: Faults, inner: WriteSession) -> None:
        self.key, self.token, self.offset = inner.key, inner.token, inner.offset
        self._faults, self._inner = faults, inner

    def write(self, data: bytes | memoryview) -> None:
        self._faults.meet("write", self.key, self.offset)
        self._inner.write(data)
        self.offset = self._inner.offset

    def copy_from(self, source: int, stat: ObjectStat) -> None:
        assert isinstance(self._inner, LocalWrite)
        self._faults.meet("copy", self.key, self.offset)
        self._inner.copy_from(source, stat)
        self.offset = self._inner.offset

    def publish(self) -> ObjectStat:
        self._faults.meet("publish", self.key)
        stat = self._inner.publish()
        self._faults.meet("published", self.key)
        return stat

    def suspend(self) -> str:
        return self._inner.suspend()

    def abort(self) -> None:
        self._faults.meet("abort", self.key)
        self._inner.abort()
