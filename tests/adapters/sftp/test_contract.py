"""SFTP keeps the contract on a real OpenSSH server, also on a terse one and with keys renegotiated under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import (
    AdapterError,
)
from adapters.sftp_endpoint import Engine
from adapters.sftp_messages import Reply
from adapters.sftp_wire import SftpWire
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from tests.adapters.guarantees import Documented
from tests.adapters.sftp.storages import (
    assert_works,
    build,
    failed_step,
    settings_of,
)
from tests.servers.proxy import CuttingProxy
from tests.servers.sshd import Sshd


@pytest.fixture(scope="module")
def settings(sshd: Sshd, engine: Engine) -> Settings:
    return settings_of(sshd, engine)


@pytest.fixture(scope="module")
def adapter(settings: Settings) -> Iterator[Adapter]:
    """One for all tests, as a gateway has it: each logging in would take longer than most of them."""
    adapter = build(settings)
    yield adapter
    adapter.close()


class TestSftp(AdapterContract, OtherProcesses, Network, Documented):
    row = "`sftp` (OpenSSH)"
    bulk_memory_bytes = 16 * 1024 * 1024

    @pytest.fixture
    def network(self, sshd: Sshd, engine: Engine) -> Iterator[Line]:
        with CuttingProxy(sshd.port) as proxy:
            adapter = build(settings_of(sshd, engine, port=proxy.port, connect_timeout_s=5, stall_timeout_s=5))
            yield Line(adapter, proxy)
            adapter.close()


def test_objects_of_a_terse_server_take_more_round_trips_and_arrive_whole(tmp_path: Path, engine: Engine) -> None:
    with (
        Sshd(tmp_path, sftp_options="-P limits,fsync,statvfs") as server,
        closing(build(settings_of(server, engine))) as adapter,
    ):
        data = AdapterContract.content(5_000_001)
        AdapterContract.store(adapter, "object", data)
        assert AdapterContract.fetch(adapter, "object") == data
        with pytest.raises(AdapterError) as refused:
            adapter.free_bytes()
        assert not refused.value.transient


def test_keys_are_renegotiated_in_the_middle_of_a_transfer(tmp_path: Path, engine: Engine) -> None:
    with Sshd(tmp_path, extra="RekeyLimit 1M") as server, closing(build(settings_of(server, engine))) as adapter:
        data = AdapterContract.content(6_000_000)
        AdapterContract.store(adapter, "object", data)
        assert AdapterContract.fetch(adapter, "object") == data


def test_replacing_is_refused_for_good_where_it_would_not_be_atomic(tmp_path: Path, engine: Engine) -> None:
    with (
        Sshd(tmp_path, sftp_options="-P posix-rename") as server,
        closing(build(settings_of(server, engine))) as adapter,
    ):
        AdapterContract.store(adapter, "object", b"old")
        with pytest.raises(AdapterError, match="posix-rename") as refused:
            adapter.open_write("object", size=3, mode=WriteMode.REPLACE)
        assert not refused.value.transient
        assert AdapterContract.fetch(adapter, "object") == b"old"
        assert failed_step(adapter).step == "rename"


def test_small_object_takes_few_round_trips(sshd: Sshd, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    gather = SftpWire.gather

    def counted(wire: SftpWire, *tickets: int) -> list[Reply]:
        if tickets and wire._outbox:  # What is sent together is answered within one round trip.
            waits.append(tickets)
        return gather(wire, *tickets)

    with closing(build(settings_of(sshd, engine))) as adapter:
        assert_works(adapter)
        monkeypatch.setattr(SftpWire, "gather", counted)
        AdapterContract.store(adapter, "small", bytes(4096))
        written = len(waits)
        assert AdapterContract.fetch(adapter, "small") == bytes(4096)
        read = len(waits) - written
        adapter.stat("small")
        assert (written, read, len(waits) - written - read) == (4, 2, 1)
        adapter.delete("small")
