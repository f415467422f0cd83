"""What goes wrong on a server is told as what it is: replicas, checksums, full disks, lost lines, nonsense."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
from irods.exception import get_exception_by_code

from adapters.base import Adapter, WriteMode
from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    ChecksumMismatch,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    TimedOut,
    TransientAdapterError,
    Truncated,
    Unavailable,
    VersionChanged,
)
from adapters.irods_errors import translated
from adapters.testkit import AdapterContract, Settings
from adapters.tokens import WriteToken
from tests.adapters.irods.storages import build, settings_of
from tests.servers.irods import Irods

MIB = 1024 * 1024
OPEN, READ, WRITE, RENAME, CHECKSUM, QUERY = 602, 675, 676, 627, 629, 702
content, store, fetch = AdapterContract.content, AdapterContract.store, AdapterContract.fetch


class TestReplicas:
    def test_stale_replica_is_not_read(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"the old content")
        server.add_replica("object", 1, b"the new one", status=1)
        server.set_replica("object", 0, status=0)
        assert fetch(zone, "object") == b"the new one"
        assert zone.stat("object").size == len(b"the new one")
        assert [item.key for item in zone.scan()] == ["object"]

    def test_good_replica_is_read_whatever_the_others_are(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"good")
        server.add_replica("object", 1, b"stale", status=0)
        assert fetch(zone, "object") == b"good"
        server.add_replica("object", 2, b"being written", status=2)
        with pytest.raises(Unavailable, match="HIERARCHY_ERROR"):
            fetch(zone, "object")
        server.set_replica("object", 2, status=0)
        assert fetch(zone, "object") == b"good"

    def test_object_of_stale_replicas_only_is_an_error_for_an_operator(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        server.set_replica("object", 0, status=0)
        for attempt in (lambda: zone.stat("object"), lambda: zone.open_read("object")):
            with pytest.raises(AdapterError, match="stale") as refused:
                attempt()
            assert not refused.value.transient
        with pytest.raises(AlreadyExists):
            zone.open_write("object", size=1)
        # Whoever gets all that is listed meets the error, and misses nothing in silence.
        assert [item.key for item in zone.scan()] == ["object"]

    def test_object_that_is_being_written_may_be_there_later(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"data")
        server.set_replica("object", 0, status=2)
        with pytest.raises(Unavailable):
            zone.stat("object")
        server.set_replica("object", 0, status=1)
        assert fetch(zone, "object") == b"data"

    def test_object_that_shrinks_under_the_catalog_is_truncated(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", content(3 * MIB))
        data = server.data_id("object")
        (server.folder / "vault" / f"{data}.0").write_bytes(b"short")
        with pytest.raises(Truncated):
            fetch(zone, "object")

    def test_object_that_is_overwritten_in_place_is_not_mixed(self, server: Irods, zone: Adapter) -> None:
        old = content(9 * MIB)
        store(zone, "object", old)
        with pytest.raises(VersionChanged), zone.open_read("object") as stream:
            read = stream.read()
            server.overwrite("object", content(9 * MIB, seed=1))
            while piece := stream.read():
                read += piece

    def test_object_that_changes_as_it_is_opened_is_looked_at_again(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"one")
        server.faults.add(OPEN, "wait", seconds=3)
        overwriting = threading.Timer(1, server.overwrite, ("object", b"the other"))
        overwriting.start()
        try:
            with zone.open_read("object") as stream:
                assert (stream.read(), stream.stat.size) == (b"the other", 9)
        finally:
            overwriting.join()


class TestChecksums:
    def test_stat_tells_the_sha256_that_the_server_computed(self, zone: Adapter) -> None:
        stat = store(zone, "object", b"abc")
        assert stat.checksum is not None
        assert stat.checksum.algorithm == "sha-256"
        assert stat.checksum.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert zone.stat("object") == stat == next(iter(zone.scan()))

    @pytest.mark.parametrize("mode", list(WriteMode))
    def test_other_bytes_on_the_server_are_never_published(self, server: Irods, zone: Adapter, mode: WriteMode) -> None:
        if mode is WriteMode.REPLACE:
            store(zone, "object", b"old")
        server.faults.add(CHECKSUM, "lie")
        with pytest.raises(ChecksumMismatch):
            store(zone, "object", content(5 * MIB), mode=mode)
        assert server.paths() == (["object"] if mode is WriteMode.REPLACE else [])

    def test_copy_that_is_not_its_source_is_never_published(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"data")
        server.faults.add(CHECKSUM, "lie")
        with pytest.raises(ChecksumMismatch):
            zone.copy_within("object", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))  # type: ignore[attr-defined]
        assert server.paths() == ["object"]

    def test_checksums_are_not_asked_for_where_that_is_set(self, server: Irods) -> None:
        server.faults.add(CHECKSUM, "refuse", code=-12_000)
        with closing(build(settings_of(server, verify_checksums=False))) as adapter:
            assert store(adapter, "object", b"data").checksum is None


class TestRefusals:
    @pytest.mark.parametrize("code", [-513_028, -513_122, -110_000, -311_000])
    def test_full_disk_and_used_up_quota_are_out_of_space(self, server: Irods, zone: Adapter, code: int) -> None:
        server.faults.add(WRITE, "refuse", code=code, skip=1)
        with pytest.raises(OutOfSpace):
            store(zone, "object", content(9 * MIB))
        assert server.paths() == []

    def test_permission_that_is_missing_is_denied(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"data")
        server.faults.add(OPEN, "refuse", code=-818_000)
        for attempt in (lambda: zone.open_read("object"), lambda: zone.open_write("new", size=1)):
            with pytest.raises(AccessDenied, match="CAT_NO_ACCESS_PERMISSION"):
                attempt()

    def test_code_that_nobody_knows_is_unavailable(self, server: Irods, zone: Adapter) -> None:
        server.faults.add(QUERY, "refuse", code=-99_123_456)
        with pytest.raises(Unavailable, match="-99123456"):
            zone.stat("object")

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (-808_000, NotFound),
            (-358_000, NotFound),
            (-834_000, AlreadyExists),
            (-809_000, AlreadyExists),
            (-833_000, InvalidKey),
            (-346_000, InvalidKey),
            (-826_000, AccessDenied),
            (-993_000, AccessDenied),
            (-26_000, Offline),
            (-78_000, AdapterError),
            (-406_000, Unavailable),
            (-1_803_000, Unavailable),
            (-513_005, Unavailable),
            (-806_000, Unavailable),
        ],
    )
    def test_every_code_has_one_meaning(self, code: int, kind: type[AdapterError]) -> None:
        with pytest.raises(AdapterError) as told, translated("zone", "key"):
            raise get_exception_by_code(code)
        assert type(told.value) is kind
        assert (told.value.storage, told.value.key) == ("zone", "key")
        assert str(code) in str(told.value)


class TestLines:
    def test_write_that_is_cut_goes_on_where_the_server_has_come_to(self, server: Irods, zone: Adapter) -> None:
        data = content(15 * MIB)
        server.faults.add(WRITE, "cut", skip=2, times=1)
        session = zone.open_write("object", size=len(data))
        with pytest.raises(TransientAdapterError):
            session.write(data)
        with zone.resume_write(session.token) as resumed:
            assert resumed.offset == 8 * MIB
            resumed.write(data[resumed.offset :])
            resumed.publish()
        session.abort()
        assert fetch(zone, "object") == data
        assert server.paths() == ["object"]

    def test_short_answers_to_reads_are_put_together(self, server: Irods, zone: Adapter) -> None:
        data = content(9 * MIB + 1)
        store(zone, "object", data)
        server.faults.add(READ, "lie", times=12)
        assert fetch(zone, "object") == data
        assert fetch(zone, "object", 5 * MIB, 9 * MIB) == data[5 * MIB : 9 * MIB]

    def test_lost_answer_to_the_rename_leaves_the_object_whole(self, server: Irods, zone: Adapter) -> None:
        server.faults.add(RENAME, "lose", times=1)
        with pytest.raises(TransientAdapterError):
            store(zone, "object", b"data")
        assert fetch(zone, "object") == b"data"
        assert server.paths() == ["object"]

    def test_server_that_is_slow_times_out(self, server: Irods) -> None:
        server.faults.add(QUERY, "wait", seconds=3)
        with (
            closing(build(settings_of(server, stall_timeout_s=1, connect_timeout_s=1))) as adapter,
            pytest.raises(TimedOut),
        ):
            adapter.stat("object")

    def test_server_that_computes_for_long_is_waited_for(self, server: Irods) -> None:
        server.faults.add(CHECKSUM, "wait", seconds=4.5)
        with closing(build(settings_of(server, stall_timeout_s=3))) as adapter:
            store(adapter, "large", content(40 * MIB))
            with pytest.raises(TimedOut):
                store(adapter, "small", b"small")


def test_second_writer_of_one_partial_is_told_to_come_later(zone: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.irods_objects.RELEASE_S", 0.2)
    with zone.open_write("object", size=None) as session:
        session.write(b"data")
        with pytest.raises(Unavailable, match="HIERARCHY_ERROR"):
            zone.resume_write(session.token)
        session.publish()
    assert fetch(zone, "object") == b"data"


@pytest.mark.parametrize("then", ["resumed", "removed"])
def test_server_that_notices_late_that_a_writer_has_gone_is_waited_for(server: Irods, zone: Adapter, then: str) -> None:
    with zone.open_write("object", size=4) as session:
        session.write(b"data")
        token = session.suspend()
    [partial] = server.paths()
    server.set_replica(partial, 0, status=2)
    noticing = threading.Timer(0.3, lambda: server.set_replica(partial, 0, status=0))
    noticing.start()
    if then == "removed":
        zone.abort_write(token)
        assert server.paths() == []
    else:
        with zone.resume_write(token) as resumed:
            resumed.publish()
        assert fetch(zone, "object") == b"data"
    noticing.join()


def test_writer_that_is_aborted_under_its_hands_fails(server: Irods, zone: Adapter) -> None:
    with pytest.raises(TransientAdapterError), zone.open_write("object", size=None) as session:
        session.write(content(5 * MIB))
        zone.abort_write(session.token)
        assert server.paths() == []
        session.write(content(5 * MIB))
    assert zone.unfinished_writes("object") == []


def test_writer_of_another_gateway_is_not_aborted_before_it_has_gone(
    server: Irods, zone: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.irods_objects.RELEASE_S", 0.2)
    with closing(build(settings_of(server))) as elsewhere:
        session = elsewhere.open_write("object", size=None)
        with pytest.raises(Unavailable, match="LOCKED_DATA_OBJECT_ACCESS"):
            zone.abort_write(session.token)
        session.suspend()
        zone.abort_write(session.token)
    assert server.paths() == []


@contextmanager
def impostor(answer: bytes) -> Iterator[Settings]:
    """A server that says this and hangs up, whatever it is asked; gives the settings of a storage there."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with line:
                    line.sendall(answer)
                    line.shutdown(socket.SHUT_WR)
                    while line.recv(65_536):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        options = {
            "host": "127.0.0.1",
            "port": listener.getsockname()[1],
            "zone": "z",
            "username": "u",
            "root": "/z/r",
            "client_server_policy": "CS_NEG_REFUSE",
            "connect_timeout_s": 2,
        }
        yield Settings("irods", options, {"password": "p"})
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def header(kind: str, *numbers: int) -> bytes:
    names = ("msgLen", "errorLen", "bsLen", "intInfo")
    inner = "".join(f"<{name}>{number}</{name}>" for name, number in zip(names, numbers, strict=True))
    packed = f"<MsgHeader_PI><type>{kind}</type>{inner}</MsgHeader_PI>".encode()
    return struct.pack(">i", len(packed)) + packed


def frame(kind: str, body: str, number: int = 0) -> bytes:
    return header(kind, len(body), 0, 0, number) + body.encode()


def reply(said: object) -> bytes:
    packed = base64.b64encode(json.dumps(said).encode()).decode()
    return frame("RODS_API_REPLY", f"<BinBytesBuf_PI><buflen>9</buflen><buf>{packed}</buf></BinBytesBuf_PI>")


HELLO = frame("RODS_CS_NEG_T", "<CS_NEG_PI><status>1</status><result>CS_NEG_REFUSE</result></CS_NEG_PI>") + frame(
    "RODS_VERSION", "<Version_PI><status>0</status><relVersion>rods5.0.2</relVersion></Version_PI>"
)
LOGIN = HELLO + reply({"request_result": "x", "user_name": "u", "zone_name": "z"}) + reply({})


@pytest.mark.parametrize(
    "answer",
    [
        frame("RODS_CS_NEG_T", "<other/>"),
        HELLO.replace(b"rods5.0.2", b"rods5.0.x"),
        HELLO + frame("RODS_API_REPLY", ""),
        HELLO + reply(["what"]),
        HELLO + reply({"request_result": 7, "user_name": "u", "zone_name": "z"}),
        LOGIN + frame("RODS_API_REPLY", ""),
        LOGIN + frame("RODS_API_REPLY", "<other/>"),
        LOGIN + frame("RODS_API_REPLY", "<GenQueryOut_PI><rowCnt>3</rowCnt><attriCnt>8</attriCnt></GenQueryOut_PI>"),
        LOGIN + frame("RODS_API_REPLY", "<GenQueryOut_PI><rowCnt>x</rowCnt></GenQueryOut_PI>"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
        b"\x00\x00\x00\x05hello",
        struct.pack(">i", 12) + b"<a>&nobody;<",
        header("RODS_VERSION", 0, 0, 0, 0),
        header("RODS_VERSION", 2**40, 0, 0, 0),
        header("RODS_VERSION", 0, 0, 2**40, 0),
        header("RODS_VERSION", 5, 0, 0, 0) + b"hello",
        header("RODS_VERSION", 100, 0, 0, 0) + b"cut",
    ],
    ids=repr,
)
def test_what_is_no_irods_server_is_told_as_such(answer: bytes) -> None:
    with impostor(answer) as settings, closing(build(settings)) as adapter:
        with pytest.raises((Unavailable, AccessDenied)):
            adapter.stat("object")
        assert getattr(adapter, "leaks", 0) == 0


def test_server_that_says_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"host": "127.0.0.1", "port": silent.getsockname()[1], "zone": "z", "username": "u", "root": "/z/r"}
        with pytest.raises(TimedOut):
            build(Settings("irods", {**options, "connect_timeout_s": 1}, {"password": "p"})).stat("object")
