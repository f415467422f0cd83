"""Who may be talked to, and who we are: certificates, authorities, what has to be installed, and the check of it."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from adapters import gfal_library
from adapters.base import WriteMode
from adapters.errors import AccessDenied, AdapterError, Offline
from tests.adapters.gfal.storages import assert_works, build, failed_step, inner, settings_of, with_secrets
from tests.servers.gridftp import Authority, GridFtp, Identity


@pytest.fixture(scope="session")
def stranger(identity: Identity) -> dict[str, str]:
    """The secrets of a user whom the authority knows and the server does not."""
    return _secrets(identity.authority.issue("Stranger"))


@pytest.fixture(scope="session")
def expired(identity: Identity) -> dict[str, str]:
    return _secrets(identity.authority.issue("Test User", expired=True))


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other") / "authority", name="Other Authority")


def _secrets(pair: tuple[Path, Path]) -> dict[str, str]:
    return {"certificate": pair[0].read_text(), "private_key": pair[1].read_text()}


class TestCertificates:
    def test_proxy_logs_in(self, gridftp: GridFtp, identity: Identity) -> None:
        proxy = identity.authority.proxy(*identity.user)
        with closing(build(with_secrets(settings_of(gridftp), proxy=proxy))) as adapter:
            assert_works(adapter)

    def test_expired_certificate_is_denied_and_said_to_be_expired(
        self, gridftp: GridFtp, expired: dict[str, str]
    ) -> None:
        with closing(build(with_secrets(settings_of(gridftp), **expired))) as adapter:
            with pytest.raises(AccessDenied, match=r"Test User.* expired at 2020-01-02 00:00:00 UTC") as denied:
                adapter.stat("object")
            assert not denied.value.transient
            failed = failed_step(adapter)
        assert failed.step == "credential"
        assert "voms-proxy-init" in failed.detail

    def test_user_whom_the_server_does_not_know_is_denied(self, gridftp: GridFtp, stranger: dict[str, str]) -> None:
        with closing(build(with_secrets(settings_of(gridftp), **stranger))) as adapter:
            with pytest.raises(AccessDenied, match="Could not map"):
                adapter.stat("object")
            failed = failed_step(adapter)
        assert failed.step == "login"
        assert "maps the certificate's subject" in failed.detail

    def test_server_of_an_authority_that_is_not_trusted_is_refused(
        self, gridftp: GridFtp, other_authority: Authority
    ) -> None:
        with closing(build(settings_of(gridftp, ca_folder=str(other_authority.trusted)))) as adapter:
            with pytest.raises(AccessDenied, match="certificate verify failed"):
                adapter.stat("object")
            assert failed_step(adapter).step == "login"

    def test_server_with_another_name_than_its_certificate_is_refused(self, gridftp: GridFtp) -> None:
        with (
            closing(build(settings_of(gridftp, host="127.0.0.1"))) as adapter,
            pytest.raises(AccessDenied, match=r"127\.0\.0\.1"),
        ):
            adapter.stat("object")

    def test_secrets_lie_in_a_private_file_and_on_no_command_line(self, gridftp: GridFtp, identity: Identity) -> None:
        secret = identity.user[1].read_text().splitlines()[1]
        with closing(build(settings_of(gridftp))) as adapter:
            pool = inner(adapter)._pool
            process = pool.take()
            told = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
            file = next(
                Path(word.partition("=")[2]) for word in told.split("\0") if word.startswith("X509_USER_PROXY=")
            )
            assert secret in file.read_text()
            assert secret not in told
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            pool.give_back(process)
        assert not file.parent.exists()

    def test_credential_that_was_cleaned_away_is_written_again(self, gridftp: GridFtp) -> None:
        with closing(build(settings_of(gridftp))) as adapter:
            credential = inner(adapter)._pool._credential
            credential.path().unlink()
            assert_works(adapter)
            assert stat.S_IMODE(credential.path().stat().st_mode) == 0o600


class TestInstallation:
    def test_missing_gfal2_is_explained_by_every_call(self, gridftp: GridFtp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gfal_library, "LIBRARY", "libgfal2-not-here.so.2")
        with closing(build(settings_of(gridftp))) as adapter:
            for call in (
                lambda: adapter.stat("object"),
                lambda: adapter.open_read("object"),
                lambda: adapter.open_write("object", size=1, mode=WriteMode.CREATE),
                lambda: adapter.delete("object"),
                lambda: list(adapter.scan()),
            ):
                with pytest.raises(AdapterError, match="apt-get install libgfal2-2 gfal2-plugin-gridftp") as missing:
                    call()
                assert not missing.value.transient
            failed = failed_step(adapter)
        assert failed.step == "gfal2"
        assert "libgfal2-not-here.so.2" in failed.detail
        assert "apt-get install libgfal2-2 gfal2-plugin-gridftp" in failed.detail

    def test_missing_plugin_is_explained(
        self, gridftp: GridFtp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("GFAL_PLUGIN_DIR", str(tmp_path))
        with closing(build(settings_of(gridftp))) as adapter:
            with pytest.raises(AdapterError, match="gfal2-plugin-gridftp"):
                adapter.stat("object")
            assert "plugin gridftp is missing" in failed_step(adapter).detail


class TestCheck:
    STEPS = (
        *("gfal2", "credential", "authorities", "resolve", "connect"),
        *("login", "read", "write", "rename", "delete"),
    )

    def test_check_of_a_good_server_passes_every_step_and_leaves_nothing(self, server: GridFtp) -> None:
        with closing(build(settings_of(server))) as adapter:
            steps = adapter.check()
        assert [step.step for step in steps if step.ok] == list(self.STEPS), steps
        assert os.listdir(server.root) == []

    @pytest.mark.parametrize(
        ("step", "changes", "said"),
        [
            ("authorities", {"ca_folder": "/there/is/none"}, "signing policies"),
            ("authorities", {"ca_folder": "/"}, "no authority"),
            ("resolve", {"host": "no..name"}, "name server"),
            ("connect", {"port": 1}, "firewall"),
            ("login", {"root": "/etc"}, "not allowed"),
            ("rename", {"rename_overwrites": False}, "overwrites it"),
        ],
    )
    def test_first_failure_ends_the_check_with_a_remedy(
        self, gridftp: GridFtp, step: str, changes: dict[str, object], said: str
    ) -> None:
        with closing(build(settings_of(gridftp, **changes))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == step
        assert said in failed.detail

    def test_root_that_is_missing_is_found(self, gridftp: GridFtp) -> None:
        with closing(build(settings_of(gridftp, root=f"{gridftp.root}/none"))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == "read"
        assert "/none" in failed.detail

    def test_server_that_may_not_be_written_to_is_found(self, identity: Identity, tmp_path: Path) -> None:
        with (
            GridFtp(tmp_path, identity, extra=("-disable-command-list", "STOR,ESTO")) as server,
            closing(build(settings_of(server))) as adapter,
        ):
            assert failed_step(adapter).step == "write"

    def test_root_that_is_gone_is_offline_and_never_not_found(self, server: GridFtp) -> None:
        with closing(build(settings_of(server))) as adapter:
            assert_works(adapter)
            server.root.rmdir()
            for call in (
                lambda: adapter.stat("object"),
                lambda: adapter.delete("object"),
                lambda: list(adapter.scan()),
            ):
                with pytest.raises(Offline, match="root"):
                    call()
