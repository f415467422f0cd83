"""Refused before the first byte: nginx, with deploy/nginx.conf, asks the gateway before it takes an upload."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from gateway import problems
from staging import alias_uses, aliases
from staging.models import Alias, Bucket, Storage, Upload
from staging.states import AliasMode, StorageState
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import ROOT, Gateway
from tests.servers.meter import Meter
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.system.site import Site, curl, site_config
from tests.wire.curl import WAYS
from tests.wire.line import Line

pytestmark = pytest.mark.xdist_group("nginx")

SIZE = 40_000_000
#: The head of a request; more than that came of the body if more was counted.
HEAD = 2_000
#: What a client that does not wait may have sent by the time the refusal reaches it: what buffers on the way hold.
BUFFERS = 8_000_000
TOLD = (
    *("waybill-error-code", "waybill-retryable", "content-type", "allow", "upload-offset", "upload-complete"),
    *("referrer-policy", "cache-control"),
)
OTHER_SHA256 = hashlib.sha256(b"other").hexdigest()

WAITS = ("a file", "a form's way")


@dataclass(frozen=True)
class Told:
    """What curl learned: the status, the headers that count, the problem document, and what it had sent."""

    exit: int
    status: int
    headers: dict[str, str]
    problem: dict[str, object]
    sent: int


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.bin"
    file.write_bytes(b"0123456789abcdef" * (SIZE // 16))
    return file


def upload(url: str, large: Path, *how: str) -> Told:
    arguments = [argument.replace("BODY", str(large)) for argument in how]
    with large.open("rb") as body:
        ended = curl("-D", "-", "-w", "\n%{size_upload}", *arguments, url, stdin=body)
    head, _, rest = ended.stdout.decode().rpartition("\r\n\r\n")
    document, _, sent = rest.rpartition("\n")
    first, *lines = head.split("\r\n\r\n")[-1].split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Told(ended.returncode, int(first.split()[1]), headers, json.loads(document), int(sent))


def assert_stored(site: Site, place: Place, key: str, file: Path) -> None:
    received = curl("-f", site.url(place.alias(key)))
    assert received.returncode == 0
    assert hashlib.sha256(received.stdout).digest() == hashlib.sha256(file.read_bytes()).digest()


def revoked(place: Place) -> Alias:
    alias = place.alias("revoked", AliasMode.WRITE)
    aliases.revoke(alias)
    return alias


#: One moment for all aliases that have expired, because the answer names it.
ENDED = timezone.now() - timedelta(hours=1)


def expired(place: Place) -> Alias:
    alias = place.alias("expired", AliasMode.WRITE)
    Alias.objects.filter(pk=alias.pk).update(created_at=ENDED, expires_at=ENDED)
    return alias


def used_up(place: Place) -> Alias:
    alias = place.alias("used", AliasMode.WRITE, max_uses=1)
    alias_uses.count_delivery(alias)
    return alias


def of_a_small_bucket(place: Place) -> Alias:
    Bucket.objects.filter(pk=place.managed.pk).update(policy={"max_object_bytes": 1000})
    return place.alias("k", AliasMode.WRITE)


def without_space(place: Place) -> Alias:
    Storage.objects.filter(pk=place.storage.pk).update(capacity_bytes=SIZE - 1)
    return place.alias("k", AliasMode.WRITE)


def on_a_storage_that_is(state: StorageState) -> Callable[[Place], Alias]:
    def alias(place: Place) -> Alias:
        Storage.objects.filter(pk=place.storage.pk).update(state=state)
        return place.alias("k", AliasMode.WRITE)

    return alias


def write(**spec: object) -> Callable[[Place], Alias]:
    return lambda place: place.alias("k", AliasMode.WRITE, **spec)


#: The alias, how curl sends to it, and what it is told.
Case = tuple[Callable[[Place], Alias], list[str], int, str]
FILE, STREAM = WAYS["a file"], WAYS["a stream"]
REFUSALS: dict[str, Case] = {
    "a read alias": (lambda place: place.alias("k"), FILE, 405, "wrong_direction"),
    "an expired alias": (expired, FILE, 410, "alias_expired"),
    "a revoked alias": (revoked, FILE, 410, "alias_revoked"),
    "an alias that is used up": (used_up, FILE, 410, "alias_used_up"),
    "too large for the alias": (write(max_bytes=SIZE - 1), FILE, 413, "too_large"),
    "too large for the bucket": (of_a_small_bucket, FILE, 413, "too_large"),
    "not the alias's size": (write(size=SIZE + 1), FILE, 422, "size_mismatch"),
    "not the alias's digest": (
        write(sha256=OTHER_SHA256),
        ["-H", f"Waybill-Sha256: {'0' * 64}", *FILE],
        422,
        "digest_mismatch",
    ),
    "a digest that is none": (write(), ["-H", "Repr-Digest: ?", *FILE], 400, "invalid_request"),
    "another network": (write(networks=["192.0.2.0/24"]), FILE, 403, "wrong_network"),
    "no space": (without_space, FILE, 507, "no_space"),
    "a cordoned storage": (on_a_storage_that_is(StorageState.CORDONED), FILE, 503, "storage_closed"),
    "a suspect storage": (on_a_storage_that_is(StorageState.SUSPECT), FILE, 503, "storage_closed"),
    "a lost storage": (on_a_storage_that_is(StorageState.LOST), FILE, 503, "storage_closed"),
    "a stream to a cordoned storage": (on_a_storage_that_is(StorageState.CORDONED), STREAM, 422, "storage_closed"),
    "neither a length nor chunks": (write(), ["-X", "PUT"], 411, "length_required"),
    "a form": (write(), ["-F", "file=@BODY"], 415, "unsupported_body"),
    "an encoded body": (write(), ["-H", "Content-Encoding: gzip", *FILE], 415, "unsupported_body"),
    "a part that fits nothing": (write(), ["-C", "5", *FILE], 409, "wrong_offset"),
    "another method": (write(), ["-X", "DELETE", "--data-binary", "@BODY"], 405, "wrong_direction"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_the_gateways_own_and_costs_no_byte(site: Site, place: Place, large: Path, case: str) -> None:
    make, how, status, code = REFUSALS[case]
    with Meter(site.port) as meter:
        told = upload(site.url(make(place), port=meter.port), large, *how)
        counted = meter.sent
    straight = upload(site.url(make(place), port=site.data.port), large, *how)
    assert (told.exit, told.status, told.headers["waybill-error-code"]) == (0, status, code), told
    assert told.status == straight.status
    assert {name: told.headers.get(name) for name in TOLD} == {name: straight.headers.get(name) for name in TOLD}
    assert ("retry-after" in told.headers) == ("retry-after" in straight.headers) == (status == 503)
    assert told.problem.pop("request_id") == told.headers["x-request-id"]
    straight.problem.pop("request_id")
    assert told.problem == straight.problem
    if "-" not in how:
        assert told.sent == 0
        assert counted < HEAD
    place.assert_nothing_is_left()


def test_an_unknown_token_is_refused_as_without_nginx(site: Site, transactional_db: None, large: Path) -> None:
    for path in (f"/a/{'A' * 32}/x", f"/a/{'a' * 8171}/x", "/a/%ff/x", f"/a/{'A' * 32}"):
        told = upload(f"http://127.0.0.1:{site.port}{path}", large, *FILE)
        assert (told.exit, told.status, told.headers["waybill-error-code"], told.sent) == (0, 404, "alias_unknown", 0)


def test_content_that_differs_is_refused_and_equal_content_is_not(site: Site, place: Place, large: Path) -> None:
    alias = place.alias("twice", AliasMode.WRITE)
    url = site.url(alias)
    small = large.parent / "small.bin"
    small.write_bytes(b"some other bytes")
    assert curl("-f", "-T", large, url).returncode == 0
    other = upload(url, small, *FILE)
    assert (other.status, other.headers["waybill-error-code"]) == (409, "already_exists")
    digest = upload(url, large, "-H", f"Waybill-Sha256: {'0' * 64}", *FILE)
    assert (digest.status, digest.sent) == (409, 0)
    again = curl("-f", "-o", "/dev/null", "-w", "%{http_code} %header{waybill-replayed}", "-T", large, url)
    assert again.stdout == b"200 true"
    assert_stored(site, place, "twice", large)


@pytest.mark.parametrize("way", WAYS)
def test_however_curl_sends_it_reads_the_status_and_sends_little(
    site: Site, place: Place, large: Path, way: str
) -> None:
    alias = revoked(place)
    with Meter(site.port) as meter:
        for _ in range(5):
            told = upload(site.url(alias, port=meter.port), large, *WAYS[way])
            assert (told.exit, told.status, told.headers["waybill-error-code"]) == (0, 410, "alias_revoked"), told
        assert meter.sent < 5 * (HEAD if way in WAITS else BUFFERS)


def test_forty_refused_uploads_in_a_row_are_forty_statuses(site: Site, place: Place, large: Path) -> None:
    url = site.url(revoked(place))
    for number in range(40):
        way = list(WAYS)[number % len(WAYS)]
        told = upload(url, large, *WAYS[way])
        assert (told.exit, told.status) == (0, 410), (way, told)
    assert '"status":502' not in site.log("access.log")


@pytest.mark.parametrize("way", WAYS)
def test_over_a_slow_line_the_status_comes_long_before_the_body_is_through(
    site: Site, place: Place, large: Path, way: str
) -> None:
    with Meter(site.port, bytes_per_s=200_000) as meter:
        told = upload(site.url(revoked(place), port=meter.port), large, *WAYS[way])
        assert (told.exit, told.status) == (0, 410), told
        assert meter.sent < SIZE // 10


@pytest.mark.parametrize("how", [FILE, STREAM], ids=["file", "stream"])
def test_an_upload_over_http_2_is_admitted(site: Site, place: Place, large: Path, how: list[str]) -> None:
    """The shipped file does not offer HTTP/2; where an operator does, a body has no chunked coding there."""
    url = site.url(place.alias("h2", AliasMode.WRITE), port=site.http2_port)
    with large.open("rb") as body:
        arguments = [argument.replace("BODY", str(large)) for argument in how]
        assert curl("-f", "--http2-prior-knowledge", *arguments, url, stdin=body).returncode == 0
    assert_stored(site, place, "h2", large)


def test_an_upload_that_broke_off_goes_on_through_nginx(site: Site, place: Place, large: Path) -> None:
    alias = place.alias("again", AliasMode.WRITE)
    url, path = site.url(alias), urlsplit(site.url(alias)).path
    with Line(site.port) as line:
        line.begin("PUT", path, {"Content-Length": str(SIZE)})
        line.send(large.read_bytes()[:5_000_000])
        wait_until(lambda: Upload.objects.filter(alias=alias).exists(), what="the upload has begun")
    wait_until(lambda: Upload.objects.filter(alias=alias, suspended_at__isnull=False).exists(), what="it is kept")
    wrong = upload(url, large, "-C", "7", *FILE)
    assert (wrong.exit, wrong.status, wrong.headers["waybill-error-code"]) == (0, 409, "wrong_offset")
    offset = wrong.headers["upload-offset"]
    assert 0 < int(offset) <= 5_000_000
    ended = curl("-f", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-C", offset, "-T", large, url)
    assert ended.stdout.decode() == f"201 {SIZE - int(offset)}"
    assert_stored(site, place, "again", large)


def test_files_and_archives_below_a_prefix_go_up_through_nginx(site: Site, place: Place, tmp_path: Path) -> None:
    url = site.url(place.alias("run/1/", AliasMode.WRITE_PREFIX))
    (tmp_path / "one").write_bytes(b"first")
    with tarfile.open(tmp_path / "1.tar", "w") as archive:
        archive.add(tmp_path / "one", "two")
    assert curl("-f", "-T", tmp_path / "one", f"{url}/").returncode == 0
    assert curl("-f", "-T", tmp_path / "1.tar", f"{url}.tar").returncode == 0
    for name in ("one", "two"):
        assert curl("-f", site.url(place.alias(f"run/1/{name}"))).stdout == b"first"


def test_one_curl_reads_every_status_of_what_it_sends_one_after_the_other(
    site: Site, place: Place, large: Path
) -> None:
    refused, taken = site.url(revoked(place)), site.url(place.alias("taken", AliasMode.WRITE))
    asked = ["-o", "/dev/null", "-w", "%{http_code} ", "-T", large]
    ended = curl(*asked, refused, "--next", "-sS", *asked, taken, "--next", "-sS", *asked, refused)
    assert (ended.returncode, ended.stdout) == (0, b"410 201 410 ")
    assert_stored(site, place, "taken", large)


def test_the_question_cannot_be_asked_from_outside(site: Site, place: Place) -> None:
    alias = place.alias("k", AliasMode.WRITE)
    asked = ["-H", "X-Original-Method: PUT", "-H", f"X-Original-URI: /a/{aliases.token_of(alias)}/k"]
    before = site.data.log.read_text().count("/internal/")
    for path in (
        *("/internal/admit", "//internal/admit", "/%69nternal/admit", "/a/../internal/admit", "/x/../internal//admit"),
        *("/internal/refused", "/internal/", "/internal/admit?x"),
    ):
        answer = curl(
            *("--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", *asked, f"http://127.0.0.1:{site.port}{path}")
        )
        assert answer.stdout == b"404", path
    assert site.data.log.read_text().count("/internal/") == before


def test_a_gateway_that_does_not_know_the_proxy_decides_by_itself(tmp_path: Path, place: Place, large: Path) -> None:
    port, http2_port = free_port(), free_port()
    elsewhere = {"WAYBILL_PROXY_ADDRESSES": "192.0.2.1"}
    data = Gateway(tmp_path, **installation(), config="gunicorn_data.py", settings=elsewhere)
    config = site_config(tmp_path / "nginx", port, free_port(), data.port, http2_port=http2_port)
    with data, Nginx(config, tmp_path / "nginx", [port]) as nginx:
        site = Site(port, http2_port, nginx, data)
        assert curl("-f", "-T", large, site.url(place.alias("k", AliasMode.WRITE))).returncode == 0
        assert_stored(site, place, "k", large)
        told = upload(site.url(revoked(place)), large, *FILE)
        assert (told.exit, told.status, told.headers["waybill-error-code"]) == (0, 410, "alias_revoked")


def test_nginx_knows_every_status_that_the_gateway_may_refuse_with() -> None:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for status in {*problems._STATUS.values(), 422, 500}:
        assert f'if ($waybill_status = {status}) {{ return {status} "$waybill_problem\\n"; }}' in text


def test_downloads_are_asked_about_by_nobody(site: Site, place: Place, large: Path) -> None:
    assert curl("-f", "-T", large, site.url(place.alias("read", AliasMode.WRITE))).returncode == 0
    metric = 'waybill_requests_total{method="GET",plane="data",status="204"}'

    def asked() -> str:
        page = curl("-f", f"http://127.0.0.1:{site.data.port}/metrics").stdout.decode()
        return next((line for line in page.splitlines() if line.startswith(metric)), "")

    before, url = asked(), site.url(place.alias("read"))
    assert before
    assert curl("-f", "-o", "/dev/null", url).returncode == 0
    assert curl("-f", "-o", "/dev/null", "-I", url).returncode == 0
    assert asked() == before
