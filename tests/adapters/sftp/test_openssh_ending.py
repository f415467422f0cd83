"""The openssh engine: ssh is killed, ends or says why it could not begin, and nothing of it is left."""
# ruff: noqa: PT012 - the block under test is the transfer and the leaving of it

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import Adapter
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Offline,
    TimedOut,
    TransientAdapterError,
    Unavailable,
)
from adapters.sftp_endpoint import Engine
from adapters.testkit import AdapterContract
from tests.adapters.sftp.ssh_processes import fake_ssh, is_there, only_ssh, ssh_processes
from tests.adapters.sftp.storages import assert_works, build, settings_of
from tests.servers.process import wait_until
from tests.servers.sshd import Sshd

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


class TestEnding:
    def test_ssh_killed_in_mid_read_is_transient_and_leaves_no_zombie(self, ssh_adapter: Adapter) -> None:
        data = AdapterContract.content(16_000_000)
        AdapterContract.store(ssh_adapter, "read", data)
        pid = only_ssh()
        with pytest.raises(TransientAdapterError), ssh_adapter.open_read("read") as stream:
            read = stream.read()
            os.kill(pid, signal.SIGKILL)
            while piece := stream.read():
                read += piece
        assert data.startswith(read)
        wait_until(lambda: not is_there(pid), what="ssh was waited for")
        assert AdapterContract.fetch(ssh_adapter, "read") == data
        ssh_adapter.delete("read")

    def test_ssh_killed_in_mid_write_is_transient_and_the_write_goes_on(self, ssh_adapter: Adapter) -> None:
        data = AdapterContract.content(16_000_000)
        session = ssh_adapter.open_write("write", size=len(data))
        pid = only_ssh()
        with pytest.raises(TransientAdapterError):
            session.write(data[:8_000_000])
            os.kill(pid, signal.SIGKILL)
            session.write(data[8_000_000:])
            session.publish()
        wait_until(lambda: not is_there(pid), what="ssh was waited for")
        with ssh_adapter.resume_write(session.token) as resumed:
            resumed.write(data[resumed.offset :])
            resumed.publish()
        session.abort()
        assert AdapterContract.fetch(ssh_adapter, "write") == data
        ssh_adapter.delete("write")

    def test_idle_ssh_that_dies_is_replaced_without_an_error(self, ssh_adapter: Adapter) -> None:
        assert_works(ssh_adapter)
        pid = only_ssh()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_there(pid), what="ssh was waited for")
        assert_works(ssh_adapter)

    def test_closing_leaves_neither_process_nor_descriptor(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd, Engine.OPENSSH))) as adapter:
            assert_works(adapter)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with closing(build(settings_of(sshd, Engine.OPENSSH))) as adapter:
                assert_works(adapter)
                pid = only_ssh()
            assert not is_there(pid)
        assert len(os.listdir("/proc/self/fd")) == before

    def test_ssh_ends_when_its_gateway_is_killed(self, sshd: Sshd, tmp_path: Path) -> None:
        settings = settings_of(sshd, Engine.OPENSSH)
        program = (
            "import sys, time; from adapters import registry\n"
            f"adapter = registry.build('sftp', 'files', {dict(settings.options)!r}, {dict(settings.credential)!r})\n"
            "print(list(adapter.scan('none/')), flush=True); time.sleep(60)"
        )
        gateway = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        with gateway:
            assert gateway.stdout is not None
            assert gateway.stdout.readline() == b"[]\n"
            [pid] = ssh_processes(gateway.pid)
            gateway.kill()
        wait_until(lambda: not is_there(pid), what="ssh has ended by itself")

    # Newer Pythons warn of what this test is about: a process with threads that is forked.
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_process_leaves_its_parents_connection_alone(self, ssh_adapter: Adapter) -> None:
        assert_works(ssh_adapter)
        pid = only_ssh()
        child = os.fork()
        if child == 0:
            # The child of a test must never come back to the test runner.
            try:
                ssh_adapter.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert_works(ssh_adapter)
        assert only_ssh() == pid

    def test_a_server_that_goes_on_talking_on_standard_error_blocks_nothing(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not SFTP_SERVER.exists():
            pytest.skip("OpenSSH's sftp-server is somewhere else here")
        noise = f"export PATH=/usr/bin:/bin; yes noise | head -c 1000000 >&2; exec {SFTP_SERVER}"
        fake_ssh(tmp_path, noise, monkeypatch)
        with closing(build(settings_of(sshd, Engine.OPENSSH, connect_timeout_s=5))) as adapter:
            assert_works(adapter)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ssh: Could not resolve hostname h: Name or service not known", Offline),
        ("ssh: connect to host h port 22: Connection refused", Offline),
        ("ssh: connect to host h port 22: No route to host", Offline),
        ("ssh: connect to host h port 22: Network is unreachable", Offline),
        ("ssh: connect to host h port 22: Connection timed out", TimedOut),
        ("Connection timed out during banner exchange", TimedOut),
        ("Timeout, server h not responding.", TimedOut),
        ("u@h: Permission denied (publickey).", AccessDenied),
        ("Connection refused are words of a greeting\nu@h: Permission denied (publickey).", AccessDenied),
        ("Permission denied ( is of a greeting\nssh: connect to host h port 22: Connection refused", Offline),
        ("Unable to negotiate with h port 22: no matching cipher found. Their offer: rot13", AdapterError),
        ("command-line: line 0: Bad configuration option: identityagent", AdapterError),
        ("subsystem request failed on channel 0", Unavailable),
        ("kex_exchange_identification: Connection closed by remote host", Unavailable),
        ("", Unavailable),
    ],
)
def test_what_ssh_says_as_it_ends_is_the_error_that_paramiko_would_have_had(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[AdapterError]
) -> None:
    (tmp_path / "said").write_text(said)
    fake_ssh(tmp_path, f"/bin/cat {tmp_path}/said >&2; exit 255", monkeypatch)
    with pytest.raises(AdapterError) as refused:
        build(settings_of(sshd, Engine.OPENSSH)).stat("object")
    assert type(refused.value) is kind
    assert said.splitlines()[-1:] == [] or said.splitlines()[-1] in refused.value.detail
    assert ssh_processes() == []
