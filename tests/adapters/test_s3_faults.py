"""S3: what goes wrong is told as what it is, and nothing of the machine we run on is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from adapters import s3_settings
from adapters.base import WriteMode
from adapters.errors import AccessDenied, AdapterError, AlreadyExists, Offline, TransientAdapterError
from adapters.s3 import S3Adapter
from adapters.s3_settings import S3Settings
from adapters.testkit import AdapterContract
from tests.servers.front import Front, never, self_signed
from tests.servers.ports import free_port
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

CREDENTIAL = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
BUCKET = "faults"
PART = 5 * 1024 * 1024
SIZES = pytest.mark.parametrize("size", [10, PART + 1, PART + 2], ids=["put", "whole", "parts"])


@pytest.fixture(autouse=True, scope="module")
def _bucket(swift: Swift) -> None:
    swift.create_bucket(BUCKET)


@pytest.fixture
def front(swift: Swift) -> Iterator[Front]:
    with Front(swift.port) as front:
        yield front


@pytest.fixture
def fronted(front: Front) -> Iterator[S3Adapter]:
    adapter = build(f"http://127.0.0.1:{front.port}")
    yield adapter
    adapter.close()


def build(endpoint: str, *, secret: str = SECRET_KEY, bucket: str = BUCKET, ca: str = "") -> S3Adapter:
    options = {"endpoint": endpoint, "bucket": bucket, "ca": ca}
    settings = S3Settings.read(options, {"access_key": ACCESS_KEY, "secret_key": secret})
    return S3Adapter("s3", settings, part_bytes=PART, whole_bytes=PART + 1)


def every_call(adapter: S3Adapter) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """The error that each call raises, whatever it may be."""
    for call in (
        lambda: adapter.stat("object"),
        lambda: adapter.open_read("object"),
        lambda: adapter.open_read("object", 0, 0),
        lambda: list(adapter.scan()),
        lambda: adapter.delete("object"),
        lambda: adapter.unfinished_writes("object"),
        lambda: AdapterContract.store(adapter, "object", b"data", mode=WriteMode.REPLACE),
        lambda: AdapterContract.store(adapter, "object", bytes(PART + 1), mode=WriteMode.REPLACE),
    ):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - its kind is for the caller
            call()
        yield raised


def test_wrong_secret_is_access_denied(swift: Swift) -> None:
    adapter = build(swift.endpoint, secret="not the secret")
    for raised in every_call(adapter):
        assert raised.type is AccessDenied
        assert "not the secret" not in str(raised.value)
    failed = adapter.check()[-1]
    assert (failed.step, failed.ok) == ("bucket", False)
    assert "secret key" in failed.detail
    adapter.close()


def test_missing_bucket_is_never_taken_for_missing_objects(swift: Swift) -> None:
    adapter = build(swift.endpoint, bucket="nowhere")
    for raised in every_call(adapter):
        assert raised.type is AccessDenied
    assert "there is no bucket 'nowhere'" in adapter.check()[-1].detail
    adapter.close()


def test_endpoint_that_is_down_is_offline() -> None:
    adapter = build(f"http://127.0.0.1:{free_port()}")
    for raised in every_call(adapter):
        assert raised.type is Offline
    assert [step.ok for step in adapter.check()] == [True, False]
    adapter.close()


def test_name_that_does_not_resolve_is_offline() -> None:
    adapter = build("http://no-such-host.invalid")
    with pytest.raises(Offline):
        AdapterContract.store(adapter, "object", b"data", mode=WriteMode.REPLACE)
    assert [step.step for step in adapter.check()] == ["resolve"]
    adapter.close()


@pytest.mark.parametrize(
    ("step", "denied", "remedy"),
    [
        ("bucket", ("HEAD", ""), "may list"),
        ("write", ("PUT", ""), "may put"),
        ("read", ("GET", ""), "may get"),
        ("create", ("POST", "uploads"), "in parts"),
        ("delete", ("DELETE", ""), "may delete"),
    ],
)
def test_what_a_policy_does_not_allow_is_found_with_its_remedy(
    fronted: S3Adapter, front: Front, swift: Swift, step: str, denied: tuple[str, str], remedy: str
) -> None:
    method, part = denied
    front.denied = lambda asked, path, headers: asked == method and part in path and "uploadId" not in path
    failed = fronted.check()[-1]
    assert (failed.step, failed.ok) == (step, False)
    assert "403" in failed.detail
    assert remedy in failed.detail


@SIZES
def test_lost_answer_to_publish_is_found_out(fronted: S3Adapter, front: Front, size: int) -> None:
    """The last request of a write is done by the server, and its answer never comes."""
    content = AdapterContract.content(size)
    key = f"lost {size}"
    with fronted.open_write(key, size=size) as session:
        session.write(content)
        front.lost = lambda method, path, headers: "if-none-match" in headers
        stat = session.publish()
    assert stat == fronted.stat(key)
    assert AdapterContract.fetch(fronted, key) == content
    assert fronted.unfinished_writes(key) == []


@SIZES
def test_lost_answer_does_not_pass_off_another_object_as_ours(fronted: S3Adapter, front: Front, size: int) -> None:
    key = f"kept {size}"
    AdapterContract.store(fronted, key, b"another's")
    with fronted.open_write(key, size=size, mode=WriteMode.REPLACE) as session:
        session.write(bytes(size))
        front.dropped = lambda method, path, headers: method in ("PUT", "POST") and "partNumber=" not in path
        with pytest.raises(TransientAdapterError):
            session.publish()
    assert AdapterContract.fetch(fronted, key) == b"another's"


@pytest.mark.parametrize("size", [10, PART + 1], ids=["put", "parts"])
def test_server_without_conditional_writes_is_looked_at_first(fronted: S3Adapter, front: Front, size: int) -> None:
    front.refused = lambda method, path, headers: "if-none-match" in headers
    key = f"looked {size}"
    AdapterContract.store(fronted, key, bytes(size))
    with pytest.raises(AlreadyExists):
        AdapterContract.store(fronted, key, b"another")
    assert fronted.stat(key).size == size
    steps = fronted.check()
    assert all(step.ok for step in steps)
    assert "Waybill looks first" in next(step.detail for step in steps if step.step == "create")
    assert not fronted.traits.atomic_create


def test_bytes_behind_a_part_that_failed_are_not_kept(fronted: S3Adapter, front: Front) -> None:
    content = AdapterContract.content(2 * PART + 1000)
    session = fronted.open_write("gap", size=None)
    front.refused = lambda method, path, headers: "partNumber=2" in path
    with suppress(AdapterError):  # Depending on when the refusal comes, it is the write that raises it or nobody yet.
        session.write(content[: PART + 1])
        session.write(content[PART + 1 :])
        session._upload.settle()  # type: ignore[attr-defined]
    token = session.suspend()
    front.refused = never
    with fronted.resume_write(token) as resumed:
        assert resumed.offset == PART
        resumed.write(content[PART:])
        resumed.publish()
    assert AdapterContract.fetch(fronted, "gap") == content


def test_multipart_uploads_of_others_are_left_alone(swift: Swift) -> None:
    adapter = build(swift.endpoint)
    client, where = adapter._bucket.client, {"Bucket": BUCKET, "Key": "shared"}
    foreign = client.create_multipart_upload(**where)["UploadId"]  # type: ignore[arg-type]
    session = adapter.open_write("shared", size=None)
    session.write(bytes(PART + 1))
    (token,) = adapter.unfinished_writes("shared")
    assert token == session.token
    adapter.abort_write(token)
    left = client.list_multipart_uploads(Bucket=BUCKET, Prefix="shared")["Uploads"]
    assert [upload["UploadId"] for upload in left] == [foreign]
    session.abort()
    client.abort_multipart_upload(UploadId=foreign, **where)  # type: ignore[arg-type]
    adapter.close()


def test_certificate_that_nobody_vouches_for_is_refused(swift: Swift, tmp_path: Path) -> None:
    tls, _ = self_signed(tmp_path)
    with Front(swift.port, tls=tls) as front:
        adapter = build(f"https://127.0.0.1:{front.port}")
        for raised in every_call(adapter):
            assert raised.type is AccessDenied
            assert "certificate is not trusted" in str(raised.value)
        failed = adapter.check()[-1]
        assert (failed.step, failed.ok) == ("connect", False)
        assert "set `ca`" in failed.detail
        adapter.close()


def test_private_authority_is_trusted_where_it_is_given(swift: Swift, tmp_path: Path) -> None:
    tls, pem = self_signed(tmp_path)
    with Front(swift.port, tls=tls) as front:
        adapter = build(f"https://127.0.0.1:{front.port}", ca=pem)
        for size in (10, PART + 1):
            content = AdapterContract.content(size)
            AdapterContract.store(adapter, "over tls", content, mode=WriteMode.REPLACE)
            assert AdapterContract.fetch(adapter, "over tls") == content
        adapter.close()


def test_nothing_of_the_machines_own_configuration_is_used(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name, value in {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(config),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": "a token that would be refused",
        "AWS_PROFILE": "missing",
        "AWS_REGION": "elsewhere",
        "AWS_ENDPOINT_URL": nowhere,
        "AWS_CA_BUNDLE": str(tmp_path / "missing"),
        "HTTP_PROXY": nowhere,
        "http_proxy": nowhere,
    }.items():
        monkeypatch.setenv(name, value)
    s3_settings._session.cache_clear()
    try:
        right = build(swift.endpoint)
        AdapterContract.store(right, "own", b"data", mode=WriteMode.REPLACE)
        assert AdapterContract.fetch(right, "own") == b"data"
        right.close()
        wrong = build(swift.endpoint, secret="wrong")
        with pytest.raises(AccessDenied):
            wrong.stat("own")
        wrong.close()
        aws = S3Adapter.build("aws", {"bucket": "own"}, CREDENTIAL)
        assert aws.sign_url("key", method="GET", lifetime_s=60).startswith("https://own.s3.amazonaws.com/key?")
        aws.close()
    finally:
        s3_settings._session.cache_clear()
