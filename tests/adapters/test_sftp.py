"""SFTP keeps the contract on a real OpenSSH server, and its own promises: host keys, logins, pool, links, crashes."""
# ruff: noqa: PT012 - the block under test is the transfer and the leaving of it

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from adapters import registry
from adapters.base import Adapter, CheckStep, ReportsSpace, WriteMode
from adapters.errors import (
    AccessDenied,
    AdapterError,
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
from adapters.sftp_connection import Endpoint, SftpConnection
from adapters.sftp_messages import Reply
from adapters.sftp_pool import SftpPool
from adapters.sftp_settings import make_endpoint
from adapters.sftp_wire import SftpWire
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from tests.adapters.sftp_stand_in import PASSWORD, USER, StandIn
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy
from tests.servers.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """A server of the test's own, to count on or to kill."""
    with Sshd(tmp_path) as server:
        yield server


def settings_of(server: Sshd, **changes: object) -> Settings:
    options = {
        "host": server.host,
        "port": server.port,
        "username": server.user,
        "root": str(server.root),
        "host_key": server.host_key,
    }
    return Settings("sftp", options | changes, {"private_key": server.key_file.read_text()})


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "files", settings.options, settings.credential)


class TestSftp(AdapterContract, OtherProcesses, Network):
    bulk_memory_bytes = 16 * 1024 * 1024

    @pytest.fixture
    def settings(self, sshd: Sshd) -> Settings:
        return settings_of(sshd)

    @pytest.fixture
    def adapter(self, settings: Settings) -> Iterator[Adapter]:
        adapter = build(settings)
        yield adapter
        adapter.close()

    @pytest.fixture
    def network(self, sshd: Sshd) -> Iterator[Line]:
        with CuttingProxy(sshd.port) as proxy:
            adapter = build(settings_of(sshd, port=proxy.port, connect_timeout_s=2, stall_timeout_s=2))
            yield Line(adapter, proxy)
            adapter.close()


def test_objects_of_a_terse_server_take_more_round_trips_and_arrive_whole(tmp_path: Path) -> None:
    with (
        Sshd(tmp_path, sftp_options="-P limits,fsync,statvfs") as server,
        closing(build(settings_of(server))) as adapter,
    ):
        data = AdapterContract.content(5_000_001)
        AdapterContract.store(adapter, "object", data)
        assert AdapterContract.fetch(adapter, "object") == data
        with pytest.raises(AdapterError) as refused:
            adapter.free_bytes()
        assert not refused.value.transient


def test_keys_are_renegotiated_in_the_middle_of_a_transfer(tmp_path: Path) -> None:
    with Sshd(tmp_path, extra="RekeyLimit 1M") as server, closing(build(settings_of(server))) as adapter:
        data = AdapterContract.content(12_000_000)
        AdapterContract.store(adapter, "object", data)
        assert AdapterContract.fetch(adapter, "object") == data


def test_replacing_is_refused_for_good_where_it_would_not_be_atomic(tmp_path: Path) -> None:
    with Sshd(tmp_path, sftp_options="-P posix-rename") as server, closing(build(settings_of(server))) as adapter:
        AdapterContract.store(adapter, "object", b"old")
        with pytest.raises(AdapterError, match="posix-rename") as refused:
            adapter.open_write("object", size=3, mode=WriteMode.REPLACE)
        assert not refused.value.transient
        assert AdapterContract.fetch(adapter, "object") == b"old"
        assert failed_step(adapter).step == "rename"


class TestHostKey:
    def test_unknown_host_is_refused_with_its_fingerprint_and_where_to_put_it(self, sshd: Sshd) -> None:
        with pytest.raises(AccessDenied) as refused:
            build(settings_of(sshd, host_key="")).stat("object")
        assert sshd.fingerprint in str(refused.value)
        assert "host_key_fingerprint" in refused.value.detail
        assert not refused.value.transient

    def test_another_host_key_is_refused_with_both_fingerprints(self, sshd: Sshd, tmp_path: Path) -> None:
        other = Sshd(tmp_path)
        for known in ({"host_key": other.host_key}, {"host_key": "", "host_key_fingerprint": other.fingerprint}):
            with pytest.raises(AccessDenied) as refused:
                build(settings_of(sshd, **known)).stat("object")
            assert sshd.fingerprint in refused.value.detail
            assert other.fingerprint in refused.value.detail

    def test_host_key_of_another_kind_is_refused_with_the_fingerprint(self, sshd: Sshd) -> None:
        key = paramiko.ECDSAKey.generate()
        with pytest.raises(AccessDenied) as refused:
            build(settings_of(sshd, host_key=f"{key.get_name()} {key.get_base64()}")).stat("object")
        assert sshd.fingerprint in refused.value.detail

    def test_fingerprint_is_as_good_as_the_key(self, sshd: Sshd) -> None:
        for known in ({"host_key_fingerprint": sshd.fingerprint}, {"host_key_fingerprint": sshd.fingerprint + "="}):
            with closing(build(settings_of(sshd, host_key="", **known))) as adapter:
                assert_works(adapter)

    def test_line_of_known_hosts_is_a_host_key(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd, host_key=sshd.known_hosts.read_text().strip()))) as adapter:
            assert_works(adapter)


class TestLogin:
    def test_key_with_passphrase_logs_in(self, sshd: Sshd) -> None:
        credential = {"private_key": sshd.locked_key_file.read_text(), "passphrase": sshd.passphrase}
        with closing(build(replace(settings_of(sshd), credential=credential))) as adapter:
            assert_works(adapter)

    @pytest.mark.parametrize("phrase", ["", "wrong"])
    def test_wrong_passphrase_is_a_wrong_setting(self, sshd: Sshd, phrase: str) -> None:
        credential = {"private_key": sshd.locked_key_file.read_text(), "passphrase": phrase}
        with pytest.raises(ValueError, match=r"^passphrase: "):
            build(replace(settings_of(sshd), credential=credential))

    def test_key_that_the_server_does_not_know_is_denied(self, sshd: Sshd, tmp_path: Path) -> None:
        credential = {"private_key": Sshd(tmp_path).key_file.read_text()}
        with pytest.raises(AccessDenied, match="private key"):
            build(replace(settings_of(sshd), credential=credential)).stat("object")

    def test_user_whom_the_server_does_not_know_is_denied(self, sshd: Sshd) -> None:
        with pytest.raises(AccessDenied, match="nobody-here"):
            build(settings_of(sshd, username="nobody-here")).stat("object")

    def test_password_where_only_keys_are_accepted_is_denied(self, sshd: Sshd) -> None:
        with pytest.raises(AccessDenied, match="publickey"):
            build(replace(settings_of(sshd), credential={"password": "secret"})).stat("object")

    def test_password_logs_in_and_a_wrong_one_is_denied(self, tmp_path: Path) -> None:
        with StandIn(tmp_path) as server:
            with closing(build(stand_in_settings(server))) as adapter:
                assert_works(adapter)
            with pytest.raises(AccessDenied, match="password") as refused:
                build(stand_in_settings(server, password="wrong guess")).stat("object")
            assert "wrong guess" not in str(refused.value)


class TestPool:
    def test_connections_are_reused(self, server: Sshd) -> None:
        with closing(build(settings_of(server))) as adapter:
            for number in range(20):
                AdapterContract.store(adapter, f"{number}", b"data")
                assert AdapterContract.fetch(adapter, f"{number}") == b"data"
        assert logins(server) == 1

    def test_connections_are_bounded(self, server: Sshd) -> None:
        with closing(build(settings_of(server, max_connections=2))) as adapter:

            def round_trip(number: int) -> bytes:
                AdapterContract.store(adapter, f"{number}", b"data")
                return AdapterContract.fetch(adapter, f"{number}")

            with ThreadPoolExecutor(8) as threads:
                assert set(threads.map(round_trip, range(40))) == {b"data"}
        assert logins(server) <= 2

    def test_waiting_for_a_connection_ends(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd, max_connections=1, connect_timeout_s=1))) as adapter:
            with adapter.open_write("held", size=None), pytest.raises(Unavailable, match="max_connections"):
                adapter.stat("object")
            with pytest.raises(NotFound):
                adapter.stat("object")

    def test_idle_connections_are_closed_after_a_while(self, server: Sshd) -> None:
        pool = SftpPool(endpoint_of(server), limit=2, idle_s=0.1)
        pool.give_back(pool.take())
        assert logins(server) == 1
        wait_until(lambda: server.sessions() == 0, what="the idle connection is closed")
        pool.close()

    def test_broken_connection_is_replaced(self, server: Sshd) -> None:
        pool = SftpPool(endpoint_of(server), limit=1)
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

    def test_silent_connection_does_not_answer(self, sshd: Sshd) -> None:
        with CuttingProxy(sshd.port) as proxy:
            connection = SftpConnection(replace(endpoint_of(sshd), port=proxy.port, stall_timeout_s=0.2))
            assert connection.answers()
            proxy.stall()
            assert not connection.answers()
            assert not connection.usable
            connection.close()

    def test_server_that_says_nothing_times_out(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings = Settings(
                "sftp",
                {
                    "host": "127.0.0.1",
                    "port": silent.getsockname()[1],
                    "username": "u",
                    "root": "/",
                    "connect_timeout_s": 1,
                },
                {"password": "p"},
            )
            with pytest.raises(TimedOut):
                build(settings).stat("object")


class TestCrash:
    def test_server_killed_in_mid_read_is_a_transient_error(self, server: Sshd) -> None:
        data = AdapterContract.content(16_000_000)
        with closing(build(settings_of(server))) as adapter:
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

    def test_write_to_a_killed_server_is_resumed_or_removed_when_it_is_back(self, server: Sshd) -> None:
        data = AdapterContract.content(16_000_000)
        with closing(build(settings_of(server))) as adapter:
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

    def test_root_that_has_gone_is_offline_and_never_not_found(self, server: Sshd) -> None:
        with closing(build(settings_of(server))) as adapter:
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
        with closing(build(settings_of(server))) as late, pytest.raises(Offline):
            late.stat("object")


class TestChanges:
    """What somebody other than Waybill does to a file while it is read."""

    @pytest.fixture
    def adapter(self, server: Sshd) -> Iterator[Adapter]:
        with closing(build(settings_of(server))) as adapter:
            yield adapter

    def test_file_that_is_cut_while_it_is_read_is_truncated(self, adapter: Adapter, server: Sshd) -> None:
        (server.root / "object").write_bytes(bytes(16_000_000))
        with pytest.raises(Truncated), adapter.open_read("object") as stream:
            stream.read()
            os.truncate(server.root / "object", 1_000_000)
            while stream.read():
                pass

    def test_file_that_is_written_while_it_is_read_has_changed(self, adapter: Adapter, server: Sshd) -> None:
        (server.root / "object").write_bytes(bytes(16_000_000))
        os.utime(server.root / "object", (1, 1))
        with pytest.raises(VersionChanged), adapter.open_read("object") as stream:
            stream.read()
            with (server.root / "object").open("r+b") as file:
                file.write(b"changed")
            while stream.read():
                pass


class TestLinks:
    @pytest.fixture
    def outside(self, server: Sshd) -> Path:
        outside = server.folder / "outside"
        outside.mkdir()
        (outside / "secret").write_text("not for you")
        (server.root / "folder").mkdir()
        (server.root / "folder/object").write_text("data")
        (server.root / "link").symlink_to("folder/object")
        (server.root / "folder-link").symlink_to("folder")
        (server.root / "way-out").symlink_to(outside)
        (server.root / "secret-link").symlink_to(outside / "secret")
        (server.root / "dangling").symlink_to("nowhere")
        return outside

    @pytest.fixture
    def adapter(self, server: Sshd, outside: Path) -> Iterator[Adapter]:
        with closing(build(settings_of(server))) as adapter:
            yield adapter

    def test_links_below_the_root_are_followed(self, adapter: Adapter) -> None:
        assert AdapterContract.fetch(adapter, "link") == b"data"
        assert AdapterContract.fetch(adapter, "folder-link/object") == b"data"
        assert adapter.stat("link").size == 4

    def test_links_out_of_the_root_are_refused(self, adapter: Adapter, outside: Path) -> None:
        for key in ("secret-link", "way-out/secret"):
            with pytest.raises(InvalidKey):
                adapter.stat(key)
            with pytest.raises(InvalidKey):
                adapter.open_read(key)
        for key in ("way-out/new", "way-out/deeper/new"):
            with pytest.raises(InvalidKey):
                adapter.open_write(key, size=1)
        with pytest.raises(InvalidKey):
            adapter.delete("way-out/secret")
        with pytest.raises(InvalidKey):
            list(adapter.scan("way-out/"))
        assert [path.name for path in outside.iterdir()] == ["secret"]

    def test_deleting_a_link_leaves_what_it_leads_to(self, adapter: Adapter, outside: Path) -> None:
        for key in ("link", "secret-link"):
            adapter.delete(key)
        assert AdapterContract.fetch(adapter, "folder/object") == b"data"
        assert (outside / "secret").exists()

    def test_scan_lists_linked_files_and_no_linked_folders(self, adapter: Adapter) -> None:
        assert [item.key for item in adapter.scan()] == ["folder/object", "link"]


class TestSpace:
    def test_free_space_is_reported(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd))) as adapter:
            space = os.statvfs(sshd.root)
            assert isinstance(adapter, ReportsSpace)
            assert abs(adapter.free_bytes() - space.f_bavail * space.f_frsize) < 1024**3

    def test_full_disk_is_out_of_space_and_keeps_nothing(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        own_disk = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0" && exec "$@"', str(root))
        if subprocess.run([*own_disk, "true"], capture_output=True).returncode:
            pytest.skip("a file system of its own for the server needs the right to mount one")
        with Sshd(tmp_path, wrapper=own_disk) as server, closing(build(settings_of(server))) as adapter:
            with pytest.raises(OutOfSpace), adapter.open_write("object", size=8_000_000) as session:
                session.write(bytes(8_000_000))
                session.publish()
            assert adapter.unfinished_writes("object") == []
            assert_works(adapter)


class TestCheck:
    STEPS = ("resolve", "connect", "host key", "login", "read", "write", "rename", "delete")

    def test_check_of_a_good_server_passes_every_step_and_leaves_nothing(self, server: Sshd) -> None:
        with closing(build(settings_of(server))) as adapter:
            steps = adapter.check()
        assert [step.step for step in steps if step.ok] == list(self.STEPS), steps
        assert list(server.root.iterdir()) == []

    @pytest.mark.parametrize(
        ("step", "changes", "said"),
        [
            ("resolve", {"host": "no..name"}, "name server"),
            ("connect", {"port": 1}, "firewall"),
            ("host key", {"host_key": ""}, "SHA256:"),
            ("login", {"username": "nobody-here"}, "username"),
            ("read", {"root": "/there/is/none"}, "/there/is/none"),
        ],
    )
    def test_first_failure_ends_the_check_with_a_remedy(
        self, sshd: Sshd, step: str, changes: dict[str, object], said: str
    ) -> None:
        with closing(build(settings_of(sshd, **changes))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == step
        assert said in failed.detail

    def test_server_that_may_not_be_written_to_is_found(self, tmp_path: Path) -> None:
        with Sshd(tmp_path, sftp_options="-R") as server, closing(build(settings_of(server))) as adapter:
            assert failed_step(adapter).step == "write"

    def test_server_whose_rename_overwrites_is_found(self, tmp_path: Path) -> None:
        with StandIn(tmp_path) as server, closing(build(stand_in_settings(server))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == "rename"
        assert "existing name" in failed.detail
        assert list(tmp_path.iterdir()) == []


def test_small_object_takes_few_round_trips(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    gather = SftpWire.gather

    def counted(wire: SftpWire, *tickets: int) -> list[Reply]:
        if tickets and wire._outbox:  # What is sent together is answered within one round trip.
            waits.append(tickets)
        return gather(wire, *tickets)

    with closing(build(settings_of(sshd))) as adapter:
        assert_works(adapter)
        monkeypatch.setattr(SftpWire, "gather", counted)
        AdapterContract.store(adapter, "small", bytes(4096))
        written = len(waits)
        assert AdapterContract.fetch(adapter, "small") == bytes(4096)
        read = len(waits) - written
        adapter.stat("small")
        assert (written, read, len(waits) - written - read) == (4, 2, 1)
        adapter.delete("small")


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        ({"host": "Files.Example.ORG", "root": "/srv//data/"}, "sftp://files.example.org:22/srv/data/"),
        ({"host": "::1", "port": 2222, "root": "/"}, "sftp://[::1]:2222/"),
        ({"host": "h", "root": "a folder/100%"}, "sftp://h:22/~/a%20folder/100%25/"),
        ({"host": "h", "root": "."}, "sftp://h:22/~/"),
    ],
)
def test_base_uri_is_normalised(options: dict[str, object], uri: str) -> None:
    assert registry.base_uri("sftp", options) == uri


@pytest.mark.parametrize(
    ("options", "credential", "setting"),
    [
        ({"host": "host/path"}, {}, "host"),
        ({"host": "host:22"}, {}, "host"),
        ({"port": 65_536}, {}, "port"),
        ({"root": "/a/../b"}, {}, "root"),
        ({"host_key": "AAAA"}, {}, "host_key"),
        ({"host_key": "ssh-ed25519 not-base64"}, {}, "host_key"),
        ({"host_key": "ssh-unknown AAAA"}, {}, "host_key"),
        ({"host_key_fingerprint": "MD5:00:11"}, {}, "host_key_fingerprint"),
        ({"connect_timeout_s": 0}, {}, "connect_timeout_s"),
        ({"max_connections": 0}, {}, "max_connections"),
        ({}, {"password": ""}, "private_key"),
        ({}, {"private_key": "both"}, "private_key"),
        ({}, {"password": "", "private_key": "nonsense"}, "private_key"),
    ],
)
def test_wrong_setting_is_named(options: dict[str, object], credential: dict[str, object], setting: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: "):
        registry.build(
            "sftp",
            "files",
            {"host": "h", "username": "u", "root": "/r"} | options,
            {"password": "secret"} | credential,
        )


def assert_works(adapter: Adapter) -> None:
    AdapterContract.store(adapter, "works", b"data")
    assert AdapterContract.fetch(adapter, "works") == b"data"
    adapter.delete("works")


def failed_step(adapter: Adapter) -> CheckStep:
    *passed, failed = adapter.check()
    assert all(step.ok for step in passed)
    assert not failed.ok
    return failed


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


def logins(server: Sshd) -> int:
    return server.log.read_text().count("Accepted publickey")


def endpoint_of(server: Sshd) -> Endpoint:
    settings = settings_of(server)
    return make_endpoint("files", settings.options, {name: str(value) for name, value in settings.credential.items()})


def stand_in_settings(server: StandIn, *, password: str = PASSWORD) -> Settings:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USER,
        "root": str(server.root),
        "host_key": server.host_key,
    }
    return Settings("sftp", options, {"password": password})
