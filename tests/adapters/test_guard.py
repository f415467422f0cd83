"""The guard checks what goes in, times it, holds streams to their promise and lets no driver's exception out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from adapters.base import (
    CHUNK_BYTES,
    Adapter,
    CheckStep,
    CopiesWithin,
    ObjectStat,
    Prefix,
    ReadStream,
    ReportsSpace,
    SignsUrls,
    WriteMode,
    WriteSession,
)
from adapters.errors import InvalidKey, NotFound, RangeInvalid, Truncated, Unavailable
from adapters.guard import Guarded, guard
from adapters.memory import MemoryAdapter
from adapters.tokens import WriteToken


class DriverError(Exception):
    """What a driver raises of its own."""


class Copies:
    def copy_within(self, source: str, token: WriteToken) -> str:
        return f"{source} to {token.key}"


class Signs:
    def sign_url(self, key: str, *, method: str, lifetime_s: int) -> str:
        return f"{method} {key} for {lifetime_s}"


class Reports:
    def free_bytes(self) -> int:
        return 5


CAPABILITIES: dict[type, type] = {Copies: CopiesWithin, Signs: SignsUrls, Reports: ReportsSpace}
EVERY_SET = [chosen for size in range(4) for chosen in combinations(CAPABILITIES, size)]


class Scripted(ReadStream):
    """A stream that returns what it is told to, whatever was asked for."""

    def __init__(self, *pieces: bytes, size: int) -> None:
        self.stat = ObjectStat("key", size, None, "1", version_is_strong=True)
        self.start, self.stop = 0, size
        self._pieces = list(pieces)

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None: ...


class Playing(MemoryAdapter):
    """Opens the stream that it is given."""

    def __init__(self, stream: ReadStream) -> None:
        super().__init__("ram")
        self.stream = stream

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        return self.stream


class Failing(MemoryAdapter):
    """A driver's exception at every call."""

    def _fail(self, *args: object, **kwargs: object) -> Any:
        raise DriverError("socket closed")

    stat = open_read = open_write = resume_write = unfinished_writes = abort_write = delete = _fail
    check = close = free_bytes = copy_within = sign_url = _fail

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        yield Prefix("a/")
        raise DriverError("socket closed")


class FailingSession(WriteSession):
    key, token, offset = "key", "token", 0

    def _fail(self, *args: object) -> Any:
        raise DriverError("socket closed")

    write = publish = suspend = abort = _fail


@pytest.mark.parametrize("chosen", EVERY_SET, ids=lambda chosen: "+".join(kind.__name__ for kind in chosen) or "none")
def test_guarded_adapter_has_exactly_the_capabilities_of_its_inner(chosen: tuple[type, ...]) -> None:
    lacks = {} if Reports in chosen else {"free_bytes": None}  # which MemoryAdapter would bring along
    inner = type("Inner", (*chosen, MemoryAdapter), lacks)("ram")
    guarded = guard(inner)
    for part, capability in CAPABILITIES.items():
        assert isinstance(inner, capability) == (part in chosen)
        assert isinstance(guarded, capability) == (part in chosen)


def test_guarded_capabilities_reach_the_inner_and_check_keys() -> None:
    inner = type("Inner", (Copies, Signs, Reports, MemoryAdapter), {})("ram")
    guarded: Any = guard(inner)
    assert guarded.copy_within("a", WriteToken.new("b", size=None, mode=WriteMode.CREATE)) == "a to b"
    assert guarded.sign_url("a", method="GET", lifetime_s=9) == "GET a for 9"
    assert guarded.free_bytes() == 5
    for call in (
        lambda: guarded.copy_within("../a", WriteToken.new("b", size=None, mode=WriteMode.CREATE)),
        lambda: guarded.copy_within("a", WriteToken.new("../b", size=None, mode=WriteMode.CREATE)),
        lambda: guarded.sign_url("../a", method="GET", lifetime_s=9),
    ):
        with pytest.raises(InvalidKey):
            call()


def test_guarded_class_is_that_of_its_inner_in_name_and_settings() -> None:
    guarded = guard(MemoryAdapter("ram"))
    assert (guarded.scheme, guarded.fields, guarded.name) == ("memory", MemoryAdapter.fields, "ram")
    assert guarded.traits is MemoryAdapter.traits
    assert type(guarded).base_uri({}) == "memory:///"
    assert isinstance(type(guarded).build("ram", {}, {}).inner, MemoryAdapter)


def test_stream_that_ends_short_is_truncated() -> None:
    with guard(Playing(Scripted(b"123", size=5))).open_read("key") as stream:
        assert stream.read() == b"123"
        with pytest.raises(Truncated, match="2 bytes are missing"):
            stream.read()


@pytest.mark.parametrize("pieces", [(b"123456",), (b"12345", b"6"), (b"123", b"456")])
def test_bytes_beyond_the_stop_are_never_passed_on(pieces: tuple[bytes, ...]) -> None:
    passed = bytearray()
    with guard(Playing(Scripted(*pieces, size=5))).open_read("key") as stream:
        with pytest.raises(Unavailable, match="more than was asked"):
            passed.extend(byte for piece in iter(stream.read, b"") for byte in piece)
        assert len(passed) <= 5


def test_piece_larger_than_the_callers_buffer_is_an_error() -> None:
    with guard(Playing(Scripted(b"12345", size=5))).open_read("key") as stream, pytest.raises(Unavailable):
        stream.read(4)


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (2, 1), (-2, -1)])
def test_senseless_range_does_not_reach_the_adapter(start: int, stop: int | None) -> None:
    guarded = guard(Failing("ram"))
    with pytest.raises(RangeInvalid):
        guarded.open_read("key", start, stop)
    assert guarded.leaks == 0


def test_illegal_key_does_not_reach_the_adapter() -> None:
    guarded = guard(Failing("ram"))
    for call in (guarded.stat, guarded.open_read, guarded.delete, guarded.unfinished_writes):
        with pytest.raises(InvalidKey):
            call("../up")
    with pytest.raises(InvalidKey):
        guarded.open_write("../up", size=None)
    with pytest.raises(InvalidKey):
        guarded.scan("../")
    assert guarded.leaks == 0


def test_every_leak_becomes_unavailable_keeps_its_cause_and_is_counted() -> None:
    guarded: Any = guard(Failing("ram"))
    calls = (
        lambda: guarded.stat("key"),
        lambda: guarded.open_read("key"),
        lambda: guarded.open_write("key", size=None),
        lambda: guarded.resume_write("token"),
        lambda: guarded.unfinished_writes("key"),
        lambda: guarded.abort_write("token"),
        lambda: guarded.delete("key"),
        lambda: list(guarded.scan()),
        lambda: guarded.close(),
        lambda: guarded.free_bytes(),
        lambda: guarded.copy_within("a", WriteToken.new("b", size=None, mode=WriteMode.CREATE)),
        lambda: guarded.sign_url("a", method="GET", lifetime_s=1),
    )
    for count, call in enumerate(calls, start=1):
        with pytest.raises(Unavailable, match="raised DriverError") as leak:
            call()
        assert isinstance(leak.value.__cause__, DriverError)
        assert leak.value.storage == "ram"
        assert guarded.leaks == count


def test_check_that_breaks_is_a_failed_step() -> None:
    guarded = guard(Failing("ram"))
    (step,) = guarded.check()
    assert not step.ok
    assert "DriverError" in step.detail
    assert guarded.leaks == 1
    assert guard(MemoryAdapter("ram")).check()[0].ok


def test_leaks_of_a_session_are_counted_and_the_first_error_is_kept() -> None:
    guarded, session = _with_session(FailingSession())
    for call in (lambda: session.write(b""), session.publish, session.suspend, session.abort):
        with pytest.raises(Unavailable):
            call()
    assert guarded.leaks == 4
    with pytest.raises(NotFound) as first, session:
        raise NotFound("the source went away")
    assert "cleaning up failed too" in first.value.__notes__[0]
    with pytest.raises(Unavailable), session:
        pass


def test_every_call_is_told_with_its_outcome() -> None:
    told: list[tuple[str, str, str]] = []

    def observe(storage: str, operation: str, seconds: float, outcome: str) -> None:
        assert seconds >= 0
        told.append((storage, operation, outcome))

    guarded = guard(MemoryAdapter("ram"), observe=observe)
    with pytest.raises(NotFound):
        guarded.stat("key")
    with guarded.open_write("key", size=1) as session:
        session.write(b"1")
        session.publish()
    with guarded.open_read("key") as stream:
        stream.read()
    assert [item.key for item in guarded.scan()] == ["key"]
    operations = [(operation, outcome) for _, operation, outcome in told]
    assert operations == [
        ("stat", "not_found"),
        ("open_write", "ok"),
        ("write", "ok"),
        ("publish", "ok"),
        ("abort", "ok"),
        ("open_read", "ok"),
        ("read", "ok"),
        ("close_read", "ok"),
        ("open_scan", "ok"),
        ("scan", "ok"),
        ("scan", "ok"),
    ]
    guarded.inner = Failing("ram")
    with pytest.raises(Unavailable):
        guarded.stat("key")
    assert told[-1] == ("ram", "stat", "leak")


def test_interruption_passes_through_and_is_no_leak() -> None:
    class Interrupted(MemoryAdapter):
        def stat(self, key: str) -> ObjectStat:
            raise KeyboardInterrupt

    outcomes: list[str] = []
    guarded = guard(Interrupted("ram"), observe=lambda *told: outcomes.append(told[3]))
    with pytest.raises(KeyboardInterrupt):
        guarded.stat("key")
    assert outcomes == ["interrupted"]
    assert guarded.leaks == 0


def test_scan_that_is_given_up_closes_the_adapters_own() -> None:
    closed: list[bool] = []

    class Scanning(MemoryAdapter):
        def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
            try:
                yield Prefix("a/")
                yield Prefix("b/")
            finally:
                closed.append(True)

    found = guard(Scanning("ram")).scan()
    assert next(found) == Prefix("a/")
    assert isinstance(found, Iterator)
    found.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_offset_is_the_sessions_own_also_after_a_failed_write() -> None:
    class HalfWay(FailingSession):
        def write(self, data: bytes | memoryview) -> None:
            self.offset = 3
            raise DriverError

    _, session = _with_session(HalfWay())
    with pytest.raises(Unavailable):
        session.write(b"12345")
    assert session.offset == 3


def _with_session(session: WriteSession) -> tuple[Guarded, WriteSession]:
    class Opening(MemoryAdapter):
        def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
            return session

    guarded = guard(Opening("ram"))
    return guarded, guarded.open_write("key", size=None)


def test_check_steps_of_the_adapter_pass_unchanged() -> None:
    class Checking(MemoryAdapter):
        def check(self) -> list[CheckStep]:
            return [CheckStep("reach", True, "reached"), CheckStep("write", False, "read-only")]

    adapter: Adapter = guard(Checking("ram"))
    assert [step.ok for step in adapter.check()] == [True, False]
