"""Settings of GridFTP and SRM storages, the URLs made of them, and what gfal2's errors mean. SRM has no server here."""

from __future__ import annotations

import errno
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from adapters import registry
from adapters.base import CopiesWithin, WriteMode
from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    TimedOut,
    Unavailable,
)
from adapters.gfal_errors import GfalMissing, ProcessEnded, ProcessStalled, translated
from adapters.gfal_library import GfalError
from adapters.testkit import Settings
from tests.adapters.gfal.storages import build, failed_step, inner
from tests.servers.gridftp import Identity
from tests.servers.ports import free_port

OPTIONS = {"host": "grid.example.org", "root": "/data/vo"}


@pytest.fixture(scope="module")
def settings(identity: Identity) -> Settings:
    return Settings("gsiftp", OPTIONS, identity.secrets())


@pytest.mark.parametrize(
    ("scheme", "options", "uri"),
    [
        ("gsiftp", {}, "gsiftp://grid.example.org:2811/data/vo/"),
        ("gsiftp", {"root": "/"}, "gsiftp://grid.example.org:2811/"),
        ("gsiftp", {"root": "//a//b c/"}, "gsiftp://grid.example.org:2811/a/b%20c/"),
        ("gsiftp", {"host": "GRID.example.org", "port": 2812}, "gsiftp://grid.example.org:2812/data/vo/"),
        ("gsiftp", {"host": "::1"}, "gsiftp://[::1]:2811/data/vo/"),
        ("srm", {}, "srm://grid.example.org:8443/data/vo/"),
        ("srm", {"service_path": "/srm/v2/server"}, "srm://grid.example.org:8443/data/vo/"),
    ],
)
def test_base_uri_is_that_of_the_root(scheme: str, options: dict[str, object], uri: str) -> None:
    assert registry.base_uri(scheme, OPTIONS | options) == uri


def test_url_of_a_key_names_the_registered_server_alone(settings: Settings) -> None:
    with closing(build(settings)) as adapter:
        url = inner(adapter).endpoint.url("a b/ü?#%.txt")
    assert url == "gsiftp://grid.example.org:2811/data/vo/a%20b/%C3%BC%3F%23%25.txt"
    with closing(build(replace(settings, scheme="srm"))) as adapter:
        url = inner(adapter).endpoint.url("a/b")
    assert url == "srm://grid.example.org:8443/srm/managerv2?SFN=/data/vo/a/b"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("host", "user@host"),
        ("host", "host:2811"),
        ("port", 70_000),
        ("root", "relative"),
        ("root", "/a/../b"),
        ("root", "/a?b"),
        ("ca_folder", "certificates"),
        ("checksum", "crc32"),
        ("max_processes", 0),
        ("stall_timeout_s", 0),
    ],
)
def test_wrong_setting_is_named(settings: Settings, setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: "):
        build(replace(settings, options=OPTIONS | {setting: value}))


def test_wrong_credential_is_named_and_never_shown(settings: Settings, identity: Identity) -> None:
    certificate, key = identity.secrets()["certificate"], identity.secrets()["private_key"]
    other_key = identity.host[1].read_text()
    locked = load_pem_private_key(key.encode(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase")
    )
    for secrets, setting in (
        ({}, "proxy"),
        ({"proxy": certificate + key, "certificate": certificate}, "proxy"),
        ({"proxy": certificate + key, "private_key": key}, "private_key"),
        ({"certificate": certificate}, "private_key"),
        ({"private_key": key}, "proxy"),
        ({"proxy": "no certificate"}, "proxy"),
        ({"proxy": certificate}, "proxy"),
        ({"certificate": certificate, "private_key": "no key"}, "private_key"),
        ({"certificate": certificate, "private_key": other_key}, "certificate"),
        ({"certificate": certificate, "private_key": locked.decode()}, "private_key"),
    ):
        with pytest.raises(ValueError, match=f"^{setting}: ") as wrong:
            build(replace(settings, credential=secrets))
        assert key.splitlines()[1] not in str(wrong.value)


def test_srm_that_cannot_be_reached_is_explained(settings: Settings, identity: Identity) -> None:
    options = {
        "host": "localhost",
        "port": free_port(),
        "root": "/data",
        "ca_folder": str(identity.authority.trusted),
        "connect_timeout_s": 5,
    }
    with closing(build(Settings("srm", options, settings.credential))) as adapter:
        failed = failed_step(adapter)
        assert failed.step == "connect"
        assert "firewall" in failed.detail
        with pytest.raises(AdapterError) as offline:
            adapter.stat("object")
        assert offline.value.transient
        with pytest.raises(AdapterError, match="rename_overwrites"):
            adapter.open_write("object", size=1, mode=WriteMode.REPLACE)
        assert not isinstance(adapter, CopiesWithin)
        assert (adapter.traits.atomic_create, adapter.traits.atomic_replace) == (True, False)
        assert adapter.leaks == 0  # type: ignore[attr-defined]


def test_srm_plugin_that_is_missing_is_explained(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GFAL_PLUGIN_DIR", str(tmp_path))
    with closing(build(replace(settings, scheme="srm"))) as adapter:
        assert "apt-get install libgfal2-2 gfal2-plugin-srm" in failed_step(adapter).detail


GLOBUS = "globus_ftp_client: the server responded with an error 550 550-GlobusError: v=1 c=X  550-GridFTP-Errno: {} "
COMM = errno.ECOMM


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (errno.ENOENT, "", NotFound),
        (errno.ENOTDIR, "", NotFound),
        (errno.EEXIST, "", AlreadyExists),
        (errno.EISDIR, "", InvalidKey),
        (errno.EACCES, "", AccessDenied),
        (errno.ENOSPC, "", OutOfSpace),
        (errno.ECANCELED, "", TimedOut),
        (errno.EHOSTUNREACH, "", Offline),
        (errno.ENOTSUP, "", AdapterError),
        (COMM, GLOBUS.format(errno.ENAMETOOLONG), InvalidKey),
        (COMM, GLOBUS.format(errno.EDQUOT), OutOfSpace),
        (COMM, GLOBUS.format(errno.EPERM), AccessDenied),
        (COMM, "globus_xio: System error in write: No space left on device", OutOfSpace),
        (COMM, "globus_xio: Unable to connect to grid.example.org:2811", Offline),
        (COMM, "globus_xio: globus_libc_getaddrinfo failed.", Offline),
        (COMM, "the server responded with an error 500 Command failed : Path not allowed.", AccessDenied),
        (errno.ENOENT, "Could not open the user certificate", AccessDenied),
        (errno.ENOENT, "GSS Major Status: General failure globus_sysconfig: file not found", AccessDenied),
        (errno.ENOENT, "globus_xio: Unable to connect to grid:2811: host not found", Offline),
        (COMM, "an end-of-file was reached", Unavailable),
        (0, "", Unavailable),
    ],
)
def test_error_of_gfal2_becomes_one_of_ours(code: int, text: str, kind: type[AdapterError]) -> None:
    with pytest.raises(AdapterError) as raised, translated("grid", "key"):
        raise GfalError(code, text)
    assert type(raised.value) is kind
    assert raised.value.detail
    assert (raised.value.storage, raised.value.key) == ("grid", "key")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ProcessEnded("x"), Unavailable), (ProcessStalled("x"), TimedOut), (GfalMissing("x"), AdapterError)],
)
def test_end_of_a_process_becomes_one_of_our_errors(error: Exception, kind: type[AdapterError]) -> None:
    with pytest.raises(AdapterError, match="x") as raised, translated("grid"):
        raise error
    assert type(raised.value) is kind


def test_servers_own_words_are_kept_and_their_frame_is_not() -> None:
    text = (
        GLOBUS.format(13) + " 550-GridFTP-Reason: System error in mkdir  550-GridFTP-Error-String: Is locked  550 End. "
    )
    with pytest.raises(AccessDenied) as raised, translated("grid"):
        raise GfalError(COMM, text)
    assert raised.value.detail == "Is locked"
