"""Network: a connection that is cut or refused is a transient error, and leaves neither bytes nor sockets."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import Offline, TimedOut, TransientAdapterError
from adapters.testkit.base import Contract


class Proxy(Protocol):
    """What stands between the adapter and its server in these tests."""

    def cut_after(self, count: int) -> None:
        """Cut every connection once ``count`` more bytes have passed, both directions together."""

    def stall(self) -> None:
        """Keep every connection, and pass nothing on."""

    def refuse(self) -> None:
        """Cut every connection now, and refuse new ones."""

    def restore(self) -> None:
        """Let everything pass again."""


@dataclass(frozen=True, slots=True)
class Line:
    """A guarded adapter of the same storage, and the proxy through which it goes.

    Its time limits are what the tests of silence wait for: more than a healthy server takes on a busy machine.
    """

    adapter: Adapter
    proxy: Proxy


class Network(Contract):
    """A subclass gives the ``network`` fixture, a Line, besides ``adapter``, which reaches the server directly."""

    network_bytes: int = 16 * 1024 * 1024

    def test_read_that_is_cut_is_a_transient_error(self, adapter: Adapter, folder: str, network: Line) -> None:
        data = self.content(self.network_bytes)
        self.store(adapter, f"{folder}object", data)
        read = bytearray()
        with pytest.raises(TransientAdapterError), network.adapter.open_read(f"{folder}object") as stream:
            read += stream.read()
            network.proxy.cut_after(1_000_000)
            while piece := stream.read():
                read += piece
        assert 0 < len(read) < len(data)
        assert data.startswith(read)
        self._assert_well_again(network, f"{folder}object", data)

    def test_write_that_is_cut_is_a_transient_error_and_invisible(
        self, adapter: Adapter, folder: str, network: Line
    ) -> None:
        data = self.content(self.network_bytes)
        session = network.adapter.open_write(f"{folder}object", size=len(data))
        with pytest.raises(TransientAdapterError):
            session.write(data[:1000])
            network.proxy.cut_after(1_000_000)
            session.write(data[1000:])
            session.publish()
        self.assert_absent(adapter, f"{folder}object")
        with suppress(TransientAdapterError):  # It may say that it could not remove the bytes, and no more than that.
            session.abort()
        for token in adapter.unfinished_writes(f"{folder}object"):
            adapter.abort_write(token)
        self.assert_nothing_left(adapter, f"{folder}object")
        network.proxy.restore()
        self.store(network.adapter, f"{folder}object", data)
        self._assert_well_again(network, f"{folder}object", data)

    def test_replacement_that_is_cut_leaves_the_old_object(self, adapter: Adapter, folder: str, network: Line) -> None:
        if not adapter.traits.atomic_replace:
            pytest.skip("this storage cannot replace atomically")
        self.store(adapter, f"{folder}object", b"the old one")
        data = self.content(self.network_bytes)
        with (
            pytest.raises(TransientAdapterError),
            network.adapter.open_write(f"{folder}object", size=len(data), mode=WriteMode.REPLACE) as session,
        ):
            network.proxy.cut_after(1_000_000)
            session.write(data)
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == b"the old one"
        for token in adapter.unfinished_writes(f"{folder}object"):
            adapter.abort_write(token)

    def test_server_that_stalls_times_out(self, adapter: Adapter, folder: str, network: Line) -> None:
        data = self.content(self.network_bytes)
        self.store(adapter, f"{folder}object", data)
        with pytest.raises(TimedOut), network.adapter.open_read(f"{folder}object") as stream:
            stream.read()
            network.proxy.stall()
            while stream.read():
                pass
        network.proxy.restore()
        self._assert_well_again(network, f"{folder}object", data)
        with (
            pytest.raises(TimedOut),
            network.adapter.open_write(f"{folder}new", size=len(data)) as session,
        ):
            network.proxy.stall()
            session.write(data)
            session.publish()
        self.assert_absent(adapter, f"{folder}new")
        for token in adapter.unfinished_writes(f"{folder}new"):
            adapter.abort_write(token)

    def test_server_that_is_gone_is_offline_and_never_not_found(
        self, adapter: Adapter, folder: str, network: Line
    ) -> None:
        self.store(adapter, f"{folder}object", b"data")
        assert self.fetch(network.adapter, f"{folder}object") == b"data"
        network.proxy.refuse()
        # The first call may still find out that a kept connection has gone.
        with pytest.raises(TransientAdapterError):
            network.adapter.stat(f"{folder}object")
        with pytest.raises(Offline):
            network.adapter.stat(f"{folder}object")
        with pytest.raises(Offline):
            network.adapter.open_read(f"{folder}object").close()
        with pytest.raises(Offline):
            network.adapter.delete(f"{folder}object")
        with pytest.raises(Offline):
            list(network.adapter.scan(folder))
        with pytest.raises(Offline), network.adapter.open_write(f"{folder}new", size=1) as session:
            session.write(b"1")
            session.publish()
        failed = [step for step in network.adapter.check() if not step.ok]
        assert len(failed) == 1
        self._assert_well_again(network, f"{folder}object", b"data")

    def _assert_well_again(self, network: Line, key: str, data: bytes) -> None:
        """After the network is back the same adapter works; a call each may be lost on a dead kept connection."""
        network.proxy.restore()
        for _ in range(16):
            try:
                network.adapter.stat(key)
            except TransientAdapterError:
                continue
            break
        assert self.fetch(network.adapter, key) == data
        self.assert_no_leaks(network.adapter)
