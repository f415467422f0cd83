"""Who may read and write: credentials, certificates, settings, and what the test of a storage says of each."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.errors import AccessDenied, AdapterError, Offline
from adapters.testkit import AdapterContract
from tests.adapters.webdav.storages import build, failed_step, settings_of
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.certificates import make_certificates
from tests.servers.scripted import Asked, Said, Scripted

store, fetch = AdapterContract.store, AdapterContract.fetch


@pytest.mark.parametrize("credential", [{"password": "wrong"}, {"token": "wrong"}, {}])
def test_wrong_credential_is_access_denied_and_not_shown(apache: Apache, credential: dict[str, str]) -> None:
    options = {"username": USER} if "password" in credential else {}
    with closing(build(settings_of(apache.url, credential=credential, **options))) as adapter:
        with pytest.raises(AccessDenied, match="Basic") as refused:
            adapter.stat("object")
        with pytest.raises(AccessDenied):
            adapter.open_read("object")
        with pytest.raises(AccessDenied):
            store(adapter, "object", b"data")
        failed = failed_step(adapter)
    assert failed.step == "list"
    assert "wrong" not in f"{refused.value} {failed.detail}"


def test_server_with_a_certificate_of_a_private_authority(tmp_path: Path) -> None:
    ours, other = make_certificates(tmp_path, "ours"), make_certificates(tmp_path, "other")
    with Apache(certificate=ours.server) as server:
        with closing(build(settings_of(server.url, ca=ours.authority))) as adapter:
            assert [step for step in adapter.check() if not step.ok] == []
            assert adapter.traits.atomic_replace
            data = AdapterContract.content(3_000_001)
            store(adapter, "object", data)
            assert fetch(adapter, "object") == data
            with adapter.open_write("never", size=None) as session:
                session.write(data)
            assert AdapterContract.keys(adapter, "") == ["object"]
        for wrong in ({"ca": other.authority}, {}):
            with closing(build(settings_of(server.url, **wrong))) as adapter:
                with pytest.raises(AccessDenied, match="set `ca`"):
                    adapter.stat("object")
                assert failed_step(adapter).step == "connect"
        other_name = server.url.replace("127.0.0.1", "localhost")
        with (
            closing(build(settings_of(other_name, ca=ours.authority))) as adapter,
            pytest.raises(AccessDenied, match="not trusted"),
        ):
            adapter.stat("object")


def test_bearer_token_is_sent_with_every_request() -> None:
    with Scripted(lambda _: Said(404)) as server:
        settings = settings_of(server.url, credential={"token": "abc.DEF-1"})
        with closing(build(settings)) as adapter, pytest.raises(Offline):
            adapter.stat("object")
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer abc.DEF-1"] * 2


def test_server_without_webdav_is_told_what_is_missing() -> None:
    with Apache(dav="Off") as server, closing(build(settings_of(server.url))) as adapter:
        failed = failed_step(adapter)
        assert failed.step == "list"
        assert "PROPFIND" in failed.detail
        assert "Dav On" in failed.detail


def test_folder_that_may_not_be_written_is_told(apache: Apache, dav: Adapter) -> None:
    (apache.root / "closed").mkdir()
    (apache.root / "closed").chmod(0o555)
    options = {"username": USER, "credential": {"password": PASSWORD}}
    with closing(build(settings_of(f"{apache.url}closed/", **options))) as adapter:
        failed = failed_step(adapter)
        assert failed.step == "write"
        assert "MKCOL" in failed.detail


@pytest.mark.parametrize(
    ("step", "refused", "remedy"),
    [
        ("write", "%{REQUEST_METHOD} == 'MOVE'", "MKCOL and MOVE"),
        ("replace", "%{REQUEST_METHOD} == 'PUT' && -f %{REQUEST_FILENAME}", "allow PUT over"),
        ("delete", "%{REQUEST_METHOD} == 'DELETE'", "allow DELETE"),
    ],
)
def test_what_a_server_refuses_is_found_with_its_remedy(step: str, refused: str, remedy: str) -> None:
    rule = f'<If "{refused}">\nRequire all denied\n</If>'
    with Apache(extra=rule) as server, closing(build(settings_of(server.url))) as adapter:
        failed = failed_step(adapter)
    assert failed.step == step
    assert remedy in failed.detail


def test_root_that_has_gone_is_offline_and_its_objects_are_not_missing(apache: Apache) -> None:
    options = {"username": USER, "credential": {"password": PASSWORD}}
    with closing(build(settings_of(f"{apache.url}gone/", **options))) as adapter:
        for call in (
            lambda: adapter.stat("object"),
            lambda: adapter.open_read("object"),
            lambda: adapter.delete("object"),
            lambda: list(adapter.scan()),
            lambda: adapter.unfinished_writes("d/object"),
            lambda: store(adapter, "object", b""),
        ):
            with pytest.raises(Offline, match="root"):
                call()
        assert failed_step(adapter).step == "list"


def test_names_that_a_server_hides_are_told_and_refused_with_the_reason() -> None:
    hidden = '<FilesMatch "^\\.ht">\nRequire all denied\n</FilesMatch>'
    with Apache(extra=hidden) as server, closing(build(settings_of(server.url))) as adapter:
        steps = {step.step: step for step in adapter.check()}
        assert all(step.ok for step in steps.values())
        assert "'.ht'" in steps["write"].detail
        with pytest.raises(AccessDenied, match=r"\.ht"):
            store(adapter, "html", b"data")
        store(adapter, "xhtml", b"data")


def test_server_that_is_not_there_is_told() -> None:
    with Scripted(lambda _: Said(404)) as server:
        port = server.port
    with closing(build(settings_of(f"http://127.0.0.1:{port}/"))) as adapter:
        assert failed_step(adapter).step == "connect"
    with closing(build(settings_of("http://no-such-host.invalid/"))) as adapter:
        assert failed_step(adapter).step == "resolve"
        with pytest.raises(Offline):
            adapter.stat("object")


def test_quota_is_the_free_space() -> None:
    def answer(asked: Asked) -> Said:
        assert b"quota-available-bytes" in asked.body
        told = b"<d:quota-available-bytes>123456789012</d:quota-available-bytes>"
        status = b"<d:status>HTTP/1.1 200 OK</d:status>"
        return Said(
            207,
            b'<d:multistatus xmlns:d="DAV:"><d:response><d:href>/</d:href><d:propstat><d:prop>%s</d:prop>%s'
            b"</d:propstat></d:response></d:multistatus>" % (told, status),
        )

    with Scripted(answer) as server, closing(build(settings_of(server.url))) as adapter:
        assert adapter.free_bytes() == 123_456_789_012  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("field", "options", "credential"),
    [
        ("url", {"url": "ftp://h/"}, {}),
        ("url", {"url": "https://"}, {}),
        ("url", {"url": "https://user:secret@h/"}, {}),
        ("url", {"url": "https://h/?a=b"}, {}),
        ("url", {"url": "https://h/#a"}, {}),
        ("url", {"url": "https://h/a/../b"}, {}),
        ("url", {"url": "https://h/a/%2e%2e/b"}, {}),
        ("url", {"url": "https://h/a%2fb"}, {}),
        ("url", {"url": "https://h/%ff"}, {}),
        ("url", {"url": "https://h:port/"}, {}),
        ("url", {"url": "https://h/a b"}, {}),
        ("password", {"url": "https://h/", "username": "u"}, {}),
        ("username", {"url": "https://h/"}, {"password": "secret"}),
        ("username", {"url": "https://h/", "username": "a:b"}, {"password": "secret"}),
        ("token", {"url": "https://h/", "username": "u"}, {"token": "secret"}),
        ("token", {"url": "https://h/"}, {"token": "secret\r\nX: y"}),
        ("ca", {"url": "https://h/", "ca": "no certificate"}, {}),
        ("max_connections", {"url": "https://h/", "max_connections": 1}, {}),
    ],
)
@pytest.mark.parametrize("scheme", ["webdav", "http"])
def test_wrong_setting_is_named_and_no_secret_quoted(
    scheme: str, field: str, options: dict[str, object], credential: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=f"^{field}: ") as refused:
        registry.build(scheme, "files", options, credential)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://h", "https://h:443/"),
        ("http://H.example.org:8080/a//b", "http://h.example.org:8080/a/b/"),
        ("https://h/a%20b/%C3%A9%23%3F~", "https://h:443/a%20b/%C3%A9%23%3F~/"),
        ("http://[::1]:81/x/", "http://[::1]:81/x/"),
    ],
)
def test_base_uri_has_one_form(url: str, base: str) -> None:
    assert registry.base_uri("webdav", {"url": url}) == base


def test_errors_are_adapter_errors_whatever_is_said() -> None:
    """A status that means nothing to us is for good below 500, and may pass from there on."""
    for status, transient in ((418, False), (599, True), (304, False)):
        with Scripted(lambda _, status=status: Said(status)) as server:
            with closing(build(settings_of(server.url))) as adapter, pytest.raises(AdapterError) as refused:
                adapter.stat("object")
            assert refused.value.transient == transient
