"""The openssh engine: when it is chosen, what ssh is told, and what it is not."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from adapters import cores
from adapters.base import Adapter
from adapters.errors import (
    AccessDenied,
    AdapterError,
)
from adapters.sftp_endpoint import Engine
from adapters.sftp_paramiko import ParamikoSession
from adapters.testkit.processes import elsewhere
from tests.adapters.sftp.ssh_processes import fake_ssh, is_there, only_ssh, ssh_processes, words_of
from tests.adapters.sftp.stand_in import StandIn
from tests.adapters.sftp.storages import assert_works, build, endpoint_of, settings_of, stand_in_settings
from tests.servers.process import find_program, wait_until
from tests.servers.proxy import CuttingProxy
from tests.servers.sshd import Sshd


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own; pytest's has too long a path for ssh."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


class TestChoice:
    def test_a_private_key_is_for_ssh_and_a_password_for_paramiko(self, sshd: Sshd, tmp_path: Path) -> None:
        with closing(build(settings_of(sshd))) as adapter:
            assert_works(adapter)
            assert len(ssh_processes()) == 1
        with StandIn(tmp_path) as server, closing(build(stand_in_settings(server))) as adapter:
            assert_works(adapter)
            assert ssh_processes() == []

    def test_paramiko_starts_no_program(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd, Engine.PARAMIKO))) as adapter:
            assert_works(adapter)
            assert ssh_processes() == []

    def test_without_the_program_auto_is_paramiko_and_openssh_says_what_is_missing(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        self.assert_hindered(sshd, "install openssh-client")

    @pytest.mark.parametrize("version", ["OpenSSH_8.0p1", "Dropbear v2022.83", ""])
    def test_an_ssh_that_is_too_old_or_another_one_is_not_used(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        fake_ssh(tmp_path, "exit 1", monkeypatch, version=version)
        self.assert_hindered(sshd, "OpenSSH 8.1 or newer")

    def test_a_user_without_a_name_cannot_run_ssh(self, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.setattr(pwd, "getpwuid", nobody)
        self.assert_hindered(sshd, "/etc/passwd")

    @pytest.mark.parametrize("name", ["a folder", "percent%h", "long" * 30])
    def test_a_temporary_folder_that_ssh_would_misread_is_not_used(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
        self.assert_hindered(sshd, "TMPDIR")

    def test_check_tells_the_engine(self, sshd: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(sshd, engine))) as adapter:
            login = next(step for step in adapter.check() if step.step == "login")
        assert f"by the {engine} engine" in login.detail

    def assert_hindered(self, sshd: Sshd, remedy: str) -> None:
        with closing(build(settings_of(sshd, Engine.AUTO))) as adapter:
            assert_works(adapter)
            assert ssh_processes() == []
        with closing(build(settings_of(sshd, Engine.OPENSSH))) as demanded:
            with pytest.raises(AdapterError, match=remedy) as refused:
                demanded.stat("object")
            assert not refused.value.transient
            failed = demanded.check()[-1]
            assert not failed.ok
            assert remedy in failed.detail


class TestSecrets:
    def test_nothing_secret_is_in_the_words_the_environment_or_the_files_of_ssh(
        self, sshd: Sshd, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WAYBILL_CANARY", "of the gateway's environment")
        credential = {"private_key": sshd.locked_key_file.read_text(), "passphrase": sshd.passphrase}
        secrets = [line.encode() for line in credential["private_key"].splitlines() if "-----" not in line]
        secrets += [sshd.passphrase.encode(), b"PRIVATE KEY", b"CANARY", b"SSH_AUTH_SOCK"]
        with CuttingProxy(sshd.port) as proxy, ThreadPoolExecutor(1) as thread:
            proxy.stall()
            settings = replace(settings_of(sshd, Engine.OPENSSH, port=proxy.port), credential=credential)
            with closing(build(settings)) as adapter:
                waiting = thread.submit(adapter.scan().__next__)
                wait_until(lambda: len(ssh_processes()) == 1, what="ssh waits for the server")
                [folder] = temporary.iterdir()
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
                files = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
                assert len(files) == 1
                for told in (*files, words_of(only_ssh())):
                    assert not [secret for secret in secrets if secret in told]
                proxy.restore()
                with pytest.raises(StopIteration):
                    waiting.result(timeout=30)
                assert list(temporary.iterdir()) == []

    def test_a_refused_login_leaves_nothing_either(self, sshd: Sshd, temporary: Path) -> None:
        with pytest.raises(AccessDenied):
            build(settings_of(sshd, Engine.OPENSSH, username="nobody-here")).stat("object")
        assert list(temporary.iterdir()) == []
        assert ssh_processes() == []

    @pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
    def test_keys_of_other_kinds_log_in(self, server: Sshd, engine: Engine, kind: str) -> None:
        key = paramiko.ECDSAKey.generate() if kind == "ecdsa" else paramiko.RSAKey.generate(2048)
        with (server.folder / "authorized_keys").open("a") as known:
            known.write(f"{key.get_name()} {key.get_base64()}\n")
        file = server.folder / "key"
        key.write_private_key_file(str(file))
        settings = replace(settings_of(server, engine), credential={"private_key": file.read_text()})
        with closing(build(settings)) as adapter:
            assert_works(adapter)


class TestOwnSettings:
    HOSTILE = (
        "Host *\n HostName 127.0.0.2\n ProxyCommand sh -c 'touch {proof}'\n StrictHostKeyChecking no\n"
        " ControlMaster auto\n ControlPath {home}/control\n PermitLocalCommand yes\n LocalCommand touch {proof}\n"
    )

    def test_the_users_and_the_systems_configuration_are_ignored(self, sshd: Sshd, tmp_path: Path) -> None:
        proof, home = tmp_path / "proof", tmp_path / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        config = home / ".ssh" / "config"
        config.write_text(self.HOSTILE.format(proof=proof, home=home))
        config.chmod(0o600)
        (home / ".ssh" / "known_hosts").write_text(f"waybill {Sshd(tmp_path / 'other').host_key}\n")
        user = pwd.getpwuid(os.getuid())
        passwd = tmp_path / "passwd"
        passwd.write_text(f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{home}:/bin/sh\n")
        script = 'mount --bind "$0" /etc/passwd && mount --bind "$1" /etc/ssh/ssh_config && shift && exec "$@"'
        hostile = ("unshare", "--mount", "sh", "-c", script, str(passwd), str(config))
        if subprocess.run([*hostile, "true"], capture_output=True).returncode:
            pytest.skip("a home folder of ssh's own needs the right to mount one")
        plain = ["ssh", "-o", "BatchMode=yes", "-p", str(sshd.port), sshd.host, "true"]
        subprocess.run([*hostile, *plain], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
        assert proof.exists(), "this configuration would be followed"
        proof.unlink()
        settings = settings_of(sshd, Engine.OPENSSH)
        told = elsewhere(settings, "bulk", key="hostile", size=1000, bytes=1000, under=hostile)
        assert told["read_bytes"] == 1000
        assert not proof.exists()
        assert not (home / "control").exists()

    def test_ssh_gets_no_descriptor_of_ours_and_no_terminal(self, ssh_adapter: Adapter, tmp_path: Path) -> None:
        with (tmp_path / "marker").open("w") as marker:
            os.set_inheritable(marker.fileno(), True)
            assert_works(ssh_adapter)
            pid = only_ssh()
            targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert str(tmp_path / "marker") not in targets
        assert os.getsid(pid) == os.getpgid(pid) == pid

    def test_ssh_may_run_where_the_process_may_and_not_only_the_thread(
        self, ssh_adapter: Adapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        everywhere = os.sched_getaffinity(0)
        if len(everywhere) == 1:
            pytest.skip("there is one core only")
        monkeypatch.setattr(cores, "_allowed", frozenset(everywhere))
        os.sched_setaffinity(0, {min(everywhere)})
        try:
            assert_works(ssh_adapter)
            assert os.sched_getaffinity(only_ssh()) == everywhere
        finally:
            os.sched_setaffinity(0, everywhere)

    def test_a_host_that_looks_like_an_option_is_none(self, sshd: Sshd, tmp_path: Path) -> None:
        host = f"-oProxyCommand=touch${{IFS}}{tmp_path.name}"
        with pytest.raises(ValueError, match=r"^host: "):
            build(settings_of(sshd, Engine.OPENSSH, host=host))


class TestCipher:
    def test_ssh_takes_the_cipher_that_the_processor_has_instructions_for(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if " aes " not in Path("/proc/cpuinfo").read_text():
            pytest.skip("the processor has no instructions for AES")
        real = find_program("ssh", package="openssh-client")
        fake_ssh(tmp_path, f'exec {real} -v -E {tmp_path}/log "$@"', monkeypatch)
        with closing(build(settings_of(sshd, Engine.OPENSSH))) as adapter:
            assert_works(adapter)
        assert (tmp_path / "log").read_text().count("cipher: aes128-gcm@openssh.com") == 2

    def test_paramiko_takes_it_too(self, sshd: Sshd) -> None:
        session = ParamikoSession(endpoint_of(sshd, Engine.PARAMIKO))
        with closing(session):
            session.meet(None)
            assert session._transport.local_cipher == session._transport.remote_cipher == "aes128-gcm@openssh.com"

    @pytest.mark.parametrize("cipher", ["aes256-gcm@openssh.com", "aes128-ctr"])
    def test_a_server_without_it_is_served_by_another(self, tmp_path: Path, engine: Engine, cipher: str) -> None:
        with (
            Sshd(tmp_path, extra=f"Ciphers {cipher}") as server,
            closing(build(settings_of(server, engine))) as adapter,
        ):
            assert_works(adapter)

    def test_a_server_with_no_algorithm_that_is_safe_is_refused_for_good(self, tmp_path: Path, engine: Engine) -> None:
        with (
            Sshd(tmp_path, extra="KexAlgorithms diffie-hellman-group1-sha1") as server,
            closing(build(settings_of(server, engine))) as adapter,
            pytest.raises(AdapterError) as refused,
        ):
            adapter.stat("object")
        assert type(refused.value) is AdapterError
        assert not refused.value.transient


class TestHostKey:
    def test_a_key_that_changes_behind_a_known_fingerprint_is_refused(self, server: Sshd, tmp_path: Path) -> None:
        known = {"host_key": "", "host_key_fingerprint": server.fingerprint}
        with closing(build(settings_of(server, Engine.OPENSSH, **known))) as adapter:
            assert_works(adapter)
            pid = only_ssh()
            server.stop()
            wait_until(lambda: not is_there(pid), what="ssh has ended with its server")
            changed = Sshd(tmp_path / "other")
            for name in ("host_ed25519", "host_ed25519.pub"):
                (server.folder / name).write_bytes((changed.folder / name).read_bytes())
            server.start()
            with pytest.raises(AccessDenied) as refused:
                adapter.stat("object")
        assert server.fingerprint in refused.value.detail
        assert changed.fingerprint in refused.value.detail
        assert ssh_processes() == []

    def test_a_fingerprint_costs_one_more_connection_and_only_the_first_time(self, server: Sshd) -> None:
        known = {"host_key": "", "host_key_fingerprint": server.fingerprint}
        before = server.log.read_text().count("Connection from")
        for _ in range(2):
            with closing(build(settings_of(server, Engine.OPENSSH, **known))) as adapter:
                assert_works(adapter)
        assert server.log.read_text().count("Connection from") - before == 3
