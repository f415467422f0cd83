"""Who may be talked to, and who we are: TLS, logins of old and new servers, settings, and the check."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.errors import AccessDenied, AdapterError, NotFound, Offline, Unavailable
from adapters.testkit import AdapterContract
from tests.adapters.irods.storages import build, failed_step, settings_of
from tests.servers.front import self_signed
from tests.servers.irods import PASSWORD, ZONE, Irods


def assert_works(adapter: Adapter) -> None:
    AdapterContract.store(adapter, "works", b"data")
    assert AdapterContract.fetch(adapter, "works") == b"data"
    adapter.delete("works")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Irods]:
    """A stand-in that speaks TLS and nothing else."""
    with Irods(tmp_path_factory.mktemp("secure"), tls_policy="CS_NEG_REQUIRE") as server:
        yield server


class TestTls:
    def test_certificate_of_the_given_authority_is_trusted(self, secure: Irods) -> None:
        with closing(build(settings_of(secure))) as adapter:
            assert_works(adapter)
            found = {step.step: step.detail for step in adapter.check()}
        assert "TLSv1.3" in found["connect"]

    def test_server_that_does_not_care_is_spoken_to_in_tls(self, tmp_path: Path) -> None:
        with (
            Irods(tmp_path, tls_policy="CS_NEG_DONT_CARE") as server,
            closing(build(settings_of(server))) as adapter,
        ):
            assert "TLSv1.3" in {step.step: step.detail for step in adapter.check()}["connect"]

    def test_certificate_of_another_authority_is_refused(self, secure: Irods, tmp_path: Path) -> None:
        _, other = self_signed(tmp_path)
        for ca in (other, ""):
            with pytest.raises(AccessDenied, match="certificate is not trusted") as refused:
                build(settings_of(secure, ca=ca)).stat("object")
            assert not refused.value.transient

    def test_certificate_for_another_name_is_refused(self, secure: Irods) -> None:
        with pytest.raises(AccessDenied, match="certificate is not trusted"):
            build(settings_of(secure, host="localhost")).stat("object")

    def test_policies_that_exclude_each_other_are_told(self, secure: Irods, irods: Irods) -> None:
        for settings in (
            settings_of(secure, client_server_policy="CS_NEG_REFUSE"),
            settings_of(irods, client_server_policy="CS_NEG_REQUIRE"),
        ):
            with pytest.raises(AdapterError, match="client_server_policy") as refused:
                build(settings).stat("object")
            assert not refused.value.transient

    def test_driver_that_would_go_on_without_tls_is_stopped(
        self, irods: Irods, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logins = irods.logins()
        monkeypatch.setattr("irods.connection.perform_negotiation", lambda **_: ("CS_NEG_USE_TCP", 1))
        with pytest.raises(AdapterError, match="TLS"):
            build(settings_of(irods, client_server_policy="CS_NEG_REQUIRE")).stat("object")
        assert irods.logins() == logins

    def test_writer_is_cut_off_through_tls_too(self, secure: Irods) -> None:
        with closing(build(settings_of(secure))) as adapter:
            session = adapter.open_write("cut", size=None)
            adapter.abort_write(session.token)
            with pytest.raises(Unavailable):
                session.suspend()
            session.abort()
            assert adapter.unfinished_writes("cut") == []

    def test_large_object_passes_through_tls(self, secure: Irods) -> None:
        data = AdapterContract.content(9_000_001)
        with closing(build(settings_of(secure))) as adapter:
            AdapterContract.store(adapter, "large", data)
            assert AdapterContract.fetch(adapter, "large", 5, 8_999_999) == data[5:8_999_999]
            adapter.delete("large")


class TestLogin:
    @pytest.mark.parametrize("release", ["4.2.12", "4.3.1"])
    @pytest.mark.parametrize("authentication", ["native", "pam_password"])
    def test_password_logs_in_and_a_wrong_one_is_denied(
        self, tmp_path: Path, release: str, authentication: str
    ) -> None:
        with Irods(tmp_path, tls_policy="CS_NEG_REQUIRE", release=release) as server:
            with closing(build(settings_of(server, authentication=authentication))) as adapter:
                assert_works(adapter)
            with pytest.raises(AccessDenied) as refused:
                build(settings_of(server, authentication=authentication, password="wrong guess")).stat("object")
        assert "wrong guess" not in str(refused.value)
        assert not refused.value.transient

    @pytest.mark.parametrize("changes", [{"username": "nobody"}, {"zone": "otherZone"}])
    def test_user_whom_the_zone_does_not_know_is_denied(self, irods: Irods, changes: dict[str, object]) -> None:
        with pytest.raises(AccessDenied, match="CAT_INVALID_USER"):
            build(settings_of(irods, **changes)).stat("object")

    def test_nothing_that_is_logged_holds_the_password(self, irods: Irods, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with closing(build(settings_of(irods))) as adapter:
            assert_works(adapter)
        assert not [record for record in caplog.records if record.name.startswith("irods")]
        assert PASSWORD not in repr(adapter.inner._endpoint)  # type: ignore[attr-defined]

    def test_files_and_variables_of_our_user_are_not_looked_at(
        self, irods: Irods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = tmp_path / ".irods" / "irods_environment.json"
        environment.parent.mkdir()
        environment.write_text('{"irods_host": "elsewhere.example.org", "irods_user_name": "somebody"}')
        (environment.parent / ".irodsA").write_text("nonsense")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("IRODS_ENVIRONMENT_FILE", str(environment))
        with closing(build(settings_of(irods))) as adapter:
            assert_works(adapter)


class TestRoot:
    @pytest.mark.parametrize("root", [f"/{ZONE}/there/is/none", "/otherZone/home"])
    def test_root_that_is_not_there_is_offline_and_never_not_found(self, irods: Irods, root: str) -> None:
        with closing(build(settings_of(irods, root=root))) as adapter:
            for attempt in (
                lambda: adapter.stat("object"),
                lambda: adapter.open_read("object"),
                lambda: adapter.delete("object"),
                lambda: list(adapter.scan()),
                lambda: adapter.unfinished_writes("object"),
                lambda: adapter.open_write("object", size=1),
                lambda: adapter.open_write("folder/object", size=1),
                lambda: adapter.resume_write(f"{'0' * 32}:object"),
            ):
                with pytest.raises(Offline):
                    attempt()
            assert failed_step(adapter).step == "read"

    def test_missing_object_of_a_root_that_is_there_is_not_found(self, irods: Irods) -> None:
        with closing(build(settings_of(irods))) as adapter, pytest.raises(NotFound):
            adapter.stat("object")


class TestCheck:
    STEPS = ("resolve", "connect", "login", "read", "write", "rename", "delete")

    def test_check_of_a_good_server_passes_every_step_and_leaves_nothing(self, server: Irods, zone: Adapter) -> None:
        steps = zone.check()
        assert [step.step for step in steps if step.ok] == list(self.STEPS), steps
        assert server.paths() == []

    @pytest.mark.parametrize(
        ("step", "changes", "said"),
        [
            ("resolve", {"host": "no..name"}, "name server"),
            ("connect", {"port": 1}, "firewall"),
            ("connect", {"client_server_policy": "CS_NEG_REQUIRE"}, "client_server_policy"),
            ("login", {"username": "nobody"}, "username"),
            ("read", {"root": f"/{ZONE}/none"}, f"/{ZONE}/none"),
            ("write", {"resource": "tape"}, "resource exists"),
        ],
    )
    def test_first_failure_ends_the_check_with_a_remedy(
        self, irods: Irods, step: str, changes: dict[str, object], said: str
    ) -> None:
        with closing(build(settings_of(irods, **changes))) as adapter:
            failed = failed_step(adapter)
        assert failed.step == step
        assert said in failed.detail

    def test_checksums_that_are_not_asked_for_are_told(self, irods: Irods) -> None:
        with closing(build(settings_of(irods, verify_checksums=False))) as adapter:
            found = {step.step: step.detail for step in adapter.check()}
        assert "verify_checksums" in found["write"]

    def test_server_that_may_not_be_deleted_from_is_found(self, server: Irods, zone: Adapter) -> None:
        server.faults.add(615, "refuse", code=-818_000, skip=2)
        failed = failed_step(zone)
        assert failed.step == "delete"
        assert "CAT_NO_ACCESS_PERMISSION" in failed.detail


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        ({"host": "Data.Example.ORG", "root": "/zone//home/"}, "irods://data.example.org:1247/zone/home/"),
        ({"host": "::1", "port": 2247, "root": "/zone"}, "irods://[::1]:2247/zone/"),
        ({"host": "h", "root": "/zone/a folder/100%"}, "irods://h:1247/zone/a%20folder/100%25/"),
    ],
)
def test_base_uri_is_normalised(options: dict[str, object], uri: str) -> None:
    assert registry.base_uri("irods", options) == uri


@pytest.mark.parametrize(
    ("options", "credential", "setting"),
    [
        ({"host": "host/path"}, {}, "host"),
        ({"host": "host:1247"}, {}, "host"),
        ({"port": 65_536}, {}, "port"),
        ({"zone": "a/b"}, {}, "zone"),
        ({"username": "user#zone"}, {}, "username"),
        ({"root": "relative"}, {}, "root"),
        ({"root": "/zone/../etc"}, {}, "root"),
        ({"root": "/"}, {}, "root"),
        ({"resource": "no resource"}, {}, "resource"),
        ({"authentication": "gsi"}, {}, "authentication"),
        ({"client_server_policy": "CS_NEG_DONT_CARE"}, {}, "client_server_policy"),
        ({"authentication": "pam_password", "client_server_policy": "CS_NEG_REFUSE"}, {}, "client_server_policy"),
        ({"ca": "nonsense"}, {}, "ca"),
        ({"connect_timeout_s": 0}, {}, "connect_timeout_s"),
        ({"max_connections": 0}, {}, "max_connections"),
        ({}, {"password": "x" * 51}, "password"),
        ({}, {"password": " x"}, "password"),
    ],
)
def test_wrong_setting_is_named(options: dict[str, object], credential: dict[str, object], setting: str) -> None:
    good = {"host": "h", "zone": "z", "username": "u", "root": "/z/r"}
    with pytest.raises(ValueError, match=f"^{setting}: "):
        registry.build("irods", "zone", good | options, {"password": "secret"} | credential)
