"""Connections are few, kept and replaced; a server that dies, hangs or loses its root is told from a missing object."""
# ruff: noqa: PT012 - the block under test is the transfer and the leaving of it

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from adapters.base import Adapter
from adapters.errors import (
    Busy,
    NotFound,
    Offline,
    TimedOut,
    TransientAdapterError,
)
from adapters.sftp_connection import SftpConnection
from adapters.sftp_endpoint import Engine
from adapters.sftp_pool import SftpPool
from adapters.testkit import AdapterContract
from tests.adapters.sftp.storages import (
    assert_works,
    build,
    endpoint_of,
    logins,
    settings_of,
)
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy
from tests.servers.sshd import Sshd


class TestPool:
    def test_connections_are_reused(self, server: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(server, engine))) as adapter:
            for number in range(20):
                AdapterContract.store(adapter, f"{number}", b"data")
                assert AdapterContract.fetch(adapter, f"{number}") == b"data"
        assert logins(server) == 1

    def test_connections_are_bounded(self, server: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(server, engine, max_connections=2))) as adapter:

            def round_trip(number: int) -> bytes:
                AdapterContract.store(adapter, f"{number}", b"data")
                return AdapterContract.fetch(adapter, f"{number}")

            with ThreadPoolExecutor(8) as threads:
                assert set(threads.map(round_trip, range(40))) == {b"data"}
        assert logins(server) <= 2

    def test_waiting_for_a_connection_ends(self, sshd: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(sshd, engine, max_connections=1, connect_timeout_s=5))) as adapter:
            with adapter.open_write("held", size=None), pytest.raises(Busy, match="max_connections"):
                adapter.stat("object")
            with pytest.raises(NotFound):
                adapter.stat("object")

    def test_idle_connections_are_closed_after_a_while(self, server: Sshd, engine: Engine) -> None:
        pool = SftpPool(endpoint_of(server, engine), limit=2, idle_s=0.1)
        pool.give_back(pool.take())
        assert logins(server) == 1
        wait_until(lambda: server.sessions() == 0, what="the idle connection is closed")
        pool.close()

    def test_broken_connection_is_replaced(self, server: Sshd, engine: Engine) -> None:
        pool = SftpPool(endpoint_of(server, engine), limit=1)
        first = pool.take()
        pool.give_back(first)
        server.kill()
        server.start()
        wait_until(lambda: not first.usable, what="the connection is known to be broken")
        second = pool.take()
        assert second is not first
        assert second.answers()
        pool.give_back(second)
        pool.close()

    def test_silent_connection_does_not_answer(self, sshd: Sshd, engine: Engine) -> None:
        with CuttingProxy(sshd.port) as proxy:
            connection = SftpConnection(replace(endpoint_of(sshd, engine), port=proxy.port, stall_timeout_s=5))
            assert connection.answers()
            proxy.stall()
            assert not connection.answers()
            assert not connection.usable
            connection.close()

    def test_server_that_says_nothing_times_out(self, sshd: Sshd, engine: Engine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            began = time.monotonic()
            with pytest.raises(TimedOut):
                build(settings_of(sshd, engine, port=port, connect_timeout_s=1)).stat("object")
            assert 0.9 < time.monotonic() - began < 5


class TestCrash:
    def test_server_killed_in_mid_read_is_a_transient_error(self, server: Sshd, engine: Engine) -> None:
        data = AdapterContract.content(16_000_000)
        with closing(build(settings_of(server, engine))) as adapter:
            AdapterContract.store(adapter, "object", data)
            with pytest.raises(TransientAdapterError), adapter.open_read("object") as stream:
                read = stream.read()
                server.kill()
                while piece := stream.read():
                    read += piece
            assert data.startswith(read)
            with pytest.raises(Offline):
                adapter.stat("object")
            server.start()
            assert AdapterContract.fetch(adapter, "object") == data

    def test_write_to_a_killed_server_is_resumed_or_removed_when_it_is_back(self, server: Sshd, engine: Engine) -> None:
        data = AdapterContract.content(16_000_000)
        with closing(build(settings_of(server, engine))) as adapter:
            tokens = [killed_write(adapter, server, f"object-{number}", data) for number in range(2)]
            assert [item.key for item in adapter.scan()] == []
            with adapter.resume_write(tokens[0]) as session:
                assert 0 <= session.offset < len(data)
                session.write(data[session.offset :])
                session.publish()
            assert AdapterContract.fetch(adapter, "object-0") == data
            assert adapter.unfinished_writes("object-1") == [tokens[1]]
            adapter.abort_write(tokens[1])
            assert [path.name for path in server.root.iterdir()] == ["object-0"]

    def test_root_that_has_gone_is_offline_and_never_not_found(self, server: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(server, engine))) as adapter:
            assert_works(adapter)
            server.root.rename(server.folder / "elsewhere")
            for attempt in (
                lambda: adapter.stat("object"),
                lambda: adapter.open_read("object"),
                lambda: adapter.delete("object"),
                lambda: list(adapter.scan()),
                lambda: adapter.open_write("object", size=1),
                lambda: adapter.open_write("folder/object", size=1),
            ):
                with pytest.raises(Offline):
                    attempt()
        with closing(build(settings_of(server, engine))) as late, pytest.raises(Offline):
            late.stat("object")


def killed_write(adapter: Adapter, server: Sshd, key: str, data: bytes) -> str:
    """The token of a write whose server is killed in the middle of it and is back now."""
    session = adapter.open_write(key, size=len(data))
    with pytest.raises(TransientAdapterError):
        session.write(data[:3_000_000])
        server.kill()
        session.write(data[3_000_000:])
        session.publish()
    with pytest.raises(TransientAdapterError):
        session.abort()
    server.start()
    return session.token
