"""Who may be talked to, and who we are: host keys, logins, settings, and the check that says what is wrong."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from adapters import registry
from adapters.errors import (
    AccessDenied,
)
from adapters.sftp_endpoint import Engine
from tests.adapters.sftp.stand_in import StandIn
from tests.adapters.sftp.storages import (
    assert_works,
    build,
    failed_step,
    settings_of,
    stand_in_settings,
)
from tests.servers.sshd import Sshd


class TestHostKey:
    def test_unknown_host_is_refused_with_its_fingerprint_and_where_to_put_it(self, sshd: Sshd, engine: Engine) -> None:
        with pytest.raises(AccessDenied) as refused:
            build(settings_of(sshd, engine, host_key="")).stat("object")
        assert sshd.fingerprint in str(refused.value)
        assert "host_key_fingerprint" in refused.value.detail
        assert not refused.value.transient

    def test_another_host_key_is_refused_with_both_fingerprints(
        self, sshd: Sshd, tmp_path: Path, engine: Engine
    ) -> None:
        other = Sshd(tmp_path)
        for known in ({"host_key": other.host_key}, {"host_key": "", "host_key_fingerprint": other.fingerprint}):
            with pytest.raises(AccessDenied) as refused:
                build(settings_of(sshd, engine, **known)).stat("object")
            assert sshd.fingerprint in refused.value.detail
            assert other.fingerprint in refused.value.detail

    def test_host_key_of_another_kind_is_refused_with_the_fingerprint(self, sshd: Sshd, engine: Engine) -> None:
        key = paramiko.ECDSAKey.generate()
        with pytest.raises(AccessDenied) as refused:
            build(settings_of(sshd, engine, host_key=f"{key.get_name()} {key.get_base64()}")).stat("object")
        assert sshd.fingerprint in refused.value.detail

    def test_fingerprint_is_as_good_as_the_key(self, sshd: Sshd, engine: Engine) -> None:
        for known in ({"host_key_fingerprint": sshd.fingerprint}, {"host_key_fingerprint": sshd.fingerprint + "="}):
            with closing(build(settings_of(sshd, engine, host_key="", **known))) as adapter:
                assert_works(adapter)

    def test_line_of_known_hosts_is_a_host_key(self, sshd: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(sshd, engine, host_key=sshd.known_hosts.read_text().strip()))) as adapter:
            assert_works(adapter)


class TestLogin:
    def test_key_with_passphrase_logs_in(self, sshd: Sshd, engine: Engine) -> None:
        credential = {"private_key": sshd.locked_key_file.read_text(), "passphrase": sshd.passphrase}
        with closing(build(replace(settings_of(sshd, engine), credential=credential))) as adapter:
            assert_works(adapter)

    @pytest.mark.parametrize("phrase", ["", "wrong"])
    def test_wrong_passphrase_is_a_wrong_setting(self, sshd: Sshd, phrase: str) -> None:
        credential = {"private_key": sshd.locked_key_file.read_text(), "passphrase": phrase}
        with pytest.raises(ValueError, match=r"^passphrase: "):
            build(replace(settings_of(sshd), credential=credential))

    def test_key_that_the_server_does_not_know_is_denied(self, sshd: Sshd, tmp_path: Path, engine: Engine) -> None:
        credential = {"private_key": Sshd(tmp_path).key_file.read_text()}
        with pytest.raises(AccessDenied, match="private key"):
            build(replace(settings_of(sshd, engine), credential=credential)).stat("object")

    def test_user_whom_the_server_does_not_know_is_denied(self, sshd: Sshd, engine: Engine) -> None:
        with pytest.raises(AccessDenied, match="nobody-here"):
            build(settings_of(sshd, engine, username="nobody-here")).stat("object")

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


class TestCheck:
    STEPS = ("resolve", "connect", "host key", "login", "read", "write", "rename", "delete")

    def test_check_of_a_good_server_passes_every_step_and_leaves_nothing(self, server: Sshd, engine: Engine) -> None:
        with closing(build(settings_of(server, engine))) as adapter:
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
        self, sshd: Sshd, step: str, changes: dict[str, object], said: str, engine: Engine
    ) -> None:
        with closing(build(settings_of(sshd, engine, **changes))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == step
        assert said in failed.detail

    @pytest.mark.parametrize(
        ("step", "options"), [("write", "-R"), ("rename", "-P posix-rename"), ("delete", "-P remove")]
    )
    def test_server_that_does_not_let_us_is_found(self, tmp_path: Path, step: str, options: str) -> None:
        with Sshd(tmp_path, sftp_options=options) as server, closing(build(settings_of(server))) as adapter:
            assert failed_step(adapter).step == step

    def test_server_whose_rename_overwrites_is_found(self, tmp_path: Path) -> None:
        with StandIn(tmp_path) as server, closing(build(stand_in_settings(server))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == "rename"
        assert "existing name" in failed.detail
        assert list(tmp_path.iterdir()) == []


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
        ({"engine": "putty"}, {}, "engine"),
        ({"engine": "openssh"}, {}, "engine"),
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
