"""Connections are few, kept and replaced; a server that dies or hangs is told from a missing object."""
# ruff: noqa: PT012 - the block under test is the transfer and the leaving of it

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import Busy, NotFound, Offline, TransientAdapterError, Unavailable
from adapters.irods_connection import IrodsConnection, IrodsPool, make_account
from adapters.testkit import AdapterContract
from tests.adapters.irods.storages import build, endpoint_of, settings_of
from tests.servers.irods import Irods
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy

content, store, fetch = AdapterContract.content, AdapterContract.store, AdapterContract.fetch


class TestPool:
    def test_connections_are_reused(self, server: Irods, zone: Adapter) -> None:
        for number in range(20):
            store(zone, f"{number}", b"data")
            assert fetch(zone, f"{number}") == b"data"
        assert server.logins() == 1

    def test_connections_are_bounded(self, server: Irods) -> None:
        with closing(build(settings_of(server, max_connections=2))) as adapter:

            def round_trip(number: int) -> bytes:
                store(adapter, f"{number}", b"data")
                return fetch(adapter, f"{number}")

            with ThreadPoolExecutor(8) as threads:
                assert set(threads.map(round_trip, range(40))) == {b"data"}
        assert server.logins() <= 2

    def test_waiting_for_a_connection_ends(self, server: Irods) -> None:
        with closing(build(settings_of(server, max_connections=1, connect_timeout_s=5))) as adapter:
            with pytest.raises(Busy, match="max_connections"), adapter.open_write("held", size=None):
                adapter.stat("object")
            with pytest.raises(NotFound):
                adapter.stat("object")

    def test_error_that_the_server_told_does_not_cost_the_connection(self, server: Irods, zone: Adapter) -> None:
        for _ in range(5):
            with pytest.raises(NotFound):
                zone.open_read("missing")
        assert server.logins() == 1

    def test_idle_connections_are_closed_after_a_while(self, server: Irods) -> None:
        pool = IrodsPool(endpoint_of(settings_of(server)), limit=2, idle_s=0.1)
        connection = pool.take()
        pool.give_back(connection)
        wait_until(lambda: not connection.usable, what="the idle connection is closed")
        pool.close()

    def test_dead_connection_is_replaced(self, server: Irods) -> None:
        pool = IrodsPool(endpoint_of(settings_of(server)), limit=1)
        first = pool.take()
        pool.give_back(first)
        first.idle_since -= 10
        server.kill()
        server.start()
        second = pool.take()
        assert second is not first
        assert second.answers()
        pool.give_back(second)
        pool.close()

    def test_silent_connection_does_not_answer(self, server: Irods) -> None:
        with CuttingProxy(server.port) as proxy:
            endpoint = replace(endpoint_of(settings_of(server, port=proxy.port)), stall_timeout_s=5)
            connection = IrodsConnection(endpoint, make_account(endpoint))
            assert connection.answers()
            proxy.stall()
            assert not connection.answers()
            assert not connection.usable
            connection.close()


class TestCrash:
    def test_server_killed_in_mid_read_is_a_transient_error(self, server: Irods, zone: Adapter) -> None:
        data = content(16_000_000)
        store(zone, "object", data)
        with pytest.raises(TransientAdapterError), zone.open_read("object") as stream:
            read = stream.read()
            server.kill()
            while piece := stream.read():
                read += piece
        assert data.startswith(read)
        with pytest.raises(Offline):
            zone.stat("object")
        server.start()
        assert fetch(zone, "object") == data

    def test_write_to_a_killed_server_can_be_removed_when_it_is_unlocked(
        self, server: Irods, zone: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.irods_objects.RELEASE_S", 0.2)
        session = zone.open_write("object", size=16_000_000)
        with pytest.raises(TransientAdapterError):
            session.write(content(5_000_000))
            server.kill()
            session.write(content(11_000_000))
        with pytest.raises(TransientAdapterError):
            session.abort()
        server.start()
        # The catalog of a server that died says for ever that somebody is writing to it (iadmin modrepl).
        for attempt in (zone.resume_write, zone.abort_write):
            with pytest.raises(Unavailable):
                attempt(session.token)
        server.set_replica(server.paths()[0], 0, status=0)
        assert zone.unfinished_writes("object") == [session.token]
        zone.abort_write(session.token)
        assert server.paths() == []

    def test_replacement_that_is_cut_leaves_the_old_object(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"the old one")
        with CuttingProxy(server.port) as proxy:
            settings = settings_of(server, port=proxy.port, connect_timeout_s=5, stall_timeout_s=5)
            with closing(build(settings)) as adapter, pytest.raises(TransientAdapterError):
                store_cut(adapter, proxy)
        for token in zone.unfinished_writes("object"):
            zone.abort_write(token)
        assert fetch(zone, "object") == b"the old one"
        assert server.paths() == ["object"]


def store_cut(adapter: Adapter, proxy: CuttingProxy) -> None:
    data = content(8_000_000)
    with adapter.open_write("object", size=len(data), mode=WriteMode.REPLACE) as session:
        proxy.cut_after(5_000_000)
        session.write(data)
        session.publish()
