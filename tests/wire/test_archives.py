"""Archives over the wire: a prefix as one tar that resumes anywhere, and archives that are unpacked all or nothing."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from staging import failures
from staging.models import Object
from staging.states import AliasMode
from tests.servers.process import find_program
from tests.wire.curl import curl
from tests.wire.desk import REPLACE, Desk, sha256
from tests.wire.line import LineCut

FILES = {
    "a.txt": b"first",
    "empty": b"",
    "sub/b.bin": bytes(range(256)) * 8_000,
    "sub/deep/ü " + "n" * 120: b"long and odd",
}


def up(desk: Desk, prefix: str = "run/1/", **spec: object) -> str:
    return desk.folder(prefix, "write-prefix", **spec).removesuffix("/")


def down(desk: Desk, prefix: str = "run/1/", **spec: object) -> str:
    return desk.folder(prefix, "read-prefix", **spec).removesuffix("/")


def fill(desk: Desk, files: dict[str, bytes] = FILES) -> None:
    for name, content in files.items():
        desk.stored(content, f"run/1/{name}")


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def packed(files: dict[str, bytes], mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_a_prefix_is_one_tar_of_known_length(desk: Desk) -> None:
    fill(desk)
    url = down(desk) + ".tar"
    answer = desk.ask("GET", url)
    assert (answer.status, answer["Content-Type"]) == (200, "application/x-tar")
    assert members(answer.body) == FILES
    assert "1.tar" in answer["Content-Disposition"]
    head = desk.ask("HEAD", url)
    assert (head["Content-Length"], head["ETag"]) == (str(len(answer.body)), answer["ETag"])
    assert head["Accept-Ranges"] == "bytes"
    assert desk.ask("GET", down(desk) + ".tar").body == answer.body, "equal members make equal bytes"


def test_any_part_of_it_can_be_read(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    url = down(desk) + ".tar"
    whole = desk.ask("GET", url)
    for start, stop in ((0, 1), (511, 513), (1_000_000, 1_000_700), (len(whole.body) - 1, len(whole.body))):
        part = desk.ask("GET", url, {"Range": f"bytes={start}-{stop - 1}", "If-Range": whole["ETag"]})
        assert (part.status, part.body) == (206, whole.body[start:stop])
    (tmp_path / "x.tar").write_bytes(whole.body[:1_234_567])
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x.tar", desk.url(url))
    assert ended.exit == 0
    assert (tmp_path / "x.tar").read_bytes() == whole.body


def test_a_tar_whose_members_changed_is_never_mixed_with_the_old_one(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    url = down(desk) + ".tar"
    whole = desk.ask("GET", url)
    assert desk.ask("PUT", desk.write("run/1/a.txt", on_exists=REPLACE), body=b"other").status == 201
    (tmp_path / "x.tar").write_bytes(whole.body[:1_000_000])
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x.tar", desk.url(url))
    assert (ended.exit, ended.status) == (22, 412)
    assert (tmp_path / "x.tar").read_bytes() == whole.body[:1_000_000]
    anew = desk.ask("GET", url, {"Range": "bytes=1000000-", "If-Range": whole["ETag"]})
    assert anew.status == 200
    assert members(anew.body) == {**FILES, "a.txt": b"other"}


def test_an_object_that_was_replaced_is_never_mixed_with_the_old_one(desk: Desk, tmp_path: Path) -> None:
    path = desk.stored(b"a" * 2_000_000)
    (tmp_path / "x").write_bytes(b"a" * 1_000_000)
    assert desk.ask("PUT", desk.write(on_exists=REPLACE), body=b"b" * 2_000_000).status == 201
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x", desk.url(path))
    assert (ended.exit, ended.status) == (22, 412)
    assert desk.ask("GET", path, {"Range": "bytes=0-9"}).body == b"b" * 10
    assert desk.ask("GET", path, {"Range": "bytes=5-9"}).body == b"b" * 5, "this download began with the new one"


def test_the_manifest_names_every_member_with_its_digest(desk: Desk) -> None:
    fill(desk)
    answer_url = f"{down(desk)}.tar?manifest"
    ended = curl("-fsS", desk.url(answer_url))
    document = json.loads(ended.output)
    assert {m["path"]: (m["size"], m["sha256"]) for m in document["members"]} == {
        name: (len(content), sha256(content)) for name, content in FILES.items()
    }
    assert document["count"] == len(FILES)
    assert document["archive_size"] == int(desk.ask("HEAD", down(desk) + ".tar")["Content-Length"])


def test_gnu_tar_reads_it_from_a_pipe(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    find_program("tar", package="tar")
    ended = curl("-fsS", "-o", tmp_path / "x.tar", desk.url(down(desk) + ".tar"))
    assert ended.exit == 0
    with tarfile.open(tmp_path / "x.tar") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_a_tar_with_a_member_that_cannot_be_read_breaks_off(desk: Desk) -> None:
    fill(desk, {"a": bytes(3_000_000), **FILES})
    url = down(desk) + ".tar"
    (replica,) = Object.objects.get(key="run/1/sub/b.bin").replicas.all()
    (desk.place.root / replica.key).write_bytes(b"cut")
    with desk.line() as line, pytest.raises(LineCut):
        line.ask("GET", url)


def test_a_prefix_without_files_has_no_archive(desk: Desk) -> None:
    answer = desk.ask("GET", down(desk) + ".tar")
    assert (answer.status, answer.code) == (404, "source_missing")
    assert desk.ask("GET", down(desk) + ".zip").status == 404


@pytest.mark.parametrize(("key", "mode"), [("", "write-prefix"), ("run/1/", "write-prefix"), ("run/1/a", "write")])
def test_an_archive_whose_first_file_is_still_to_come_is_pending(desk: Desk, key: str, mode: str) -> None:
    url, writer = down(desk) + ".tar", desk.place.alias(key, AliasMode(mode))
    for asked in (url, f"{url}?manifest"):
        early = desk.ask("GET", asked)
        assert (early.status, early.code, early["Waybill-Retryable"]) == (503, "data_pending", "true")
        assert 1 <= int(early["Retry-After"]) <= 300
    failures.fail(writer, "")
    assert desk.ask("GET", url).status == (424 if mode == "write-prefix" else 404)
    desk.folder("run/1/", "write-prefix")
    assert desk.ask("GET", url).status == 503, "another may bring it"
    fill(desk)
    assert members(desk.ask("GET", url).body) == FILES


def test_who_writes_elsewhere_makes_no_archive_pending(desk: Desk) -> None:
    desk.write("run/10/a")
    desk.write("run/1")
    desk.folder("run/2/", "write-prefix")
    assert desk.ask("GET", down(desk) + ".tar").status == 404


PACKERS = {
    ".tar": packed,
    ".tar.gz": lambda files: packed(files, "w:gz"),
    ".zip": zipped,
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "stream"])
def test_an_archive_is_unpacked_below_the_prefix(desk: Desk, kind: str, chunked: bool) -> None:
    body = PACKERS[kind](FILES)
    url = up(desk) + kind
    sent = {"chunks": [body]} if chunked else {"body": body}
    answer = desk.ask("PUT", url, **sent)
    assert (answer.status, answer["Waybill-Sha256"]) == (201, sha256(body)), answer
    assert members(desk.ask("GET", down(desk) + ".tar").body) == FILES
    again = desk.ask("PUT", url, body=body)
    assert (again.status, again["Waybill-Replayed"]) == (200, "true")
    desk.assert_nothing_is_left()


def test_what_is_left_of_a_stream_of_a_tar_is_not_taken_for_the_whole(desk: Desk) -> None:
    body, url = packed({f"f{number:03}": b"x" for number in range(200)}), up(desk) + ".tar"
    sent = 64 * 1024  # as much as curl may have taken of its input; a member begins here
    with desk.line() as line:
        line.begin("PUT", url, {"Transfer-Encoding": "chunked"})
        line.send(b"%x\r\n%s\r\n" % (sent, body[:sent]))
        line.socket.shutdown(1)
        assert line.answer().status == 400
    tail = desk.ask("PUT", url, chunks=[body[sent:]])
    assert (tail.status, tail.code) == (409, "stream_interrupted")
    assert not Object.objects.exists()
    assert desk.ask("PUT", url, {"Waybill-Sha256": sha256(body)}, chunks=[body]).status == 201
    assert desk.ask("PUT", url, chunks=[body]).status == 200, "what was broken off has come since"
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_that_is_cut_stores_nothing(desk: Desk, kind: str) -> None:
    body = PACKERS[kind](FILES)
    # What follows a tar's two empty blocks only fills up the record.
    last = len(body.rstrip(b"\0")) if kind == ".tar" else len(body) - 1
    for cut in (0, 1, 511, 512, len(body) // 2, last):
        answer = desk.ask("PUT", up(desk) + kind, body=body[:cut])
        assert (answer.status, answer.code) == (422, "archive_invalid"), cut
    with desk.line() as line:
        line.begin("PUT", up(desk) + kind, {"Content-Length": str(len(body))})
        line.send(body[: len(body) // 2])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    assert not Object.objects.exists()
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a//b", "a\\b", "x/./y"])
@pytest.mark.parametrize("kind", PACKERS)
def test_a_member_outside_the_prefix_refuses_the_whole_archive(desk: Desk, kind: str, name: str) -> None:
    answer = desk.ask("PUT", up(desk) + kind, body=PACKERS[kind]({"good": b"x", name: b"evil"}))
    assert (answer.status, answer.code) == (422, "archive_invalid")
    assert not Object.objects.exists()
    desk.assert_nothing_is_left()


def test_links_in_an_archive_refuse_it(desk: Desk) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    answer = desk.ask("PUT", up(desk) + ".tar", body=data.getvalue())
    assert (answer.status, answer.code) == (422, "archive_invalid")


def test_the_digest_of_an_archive_is_checked_before_anything_is_visible(desk: Desk) -> None:
    body = packed(FILES)
    refused = desk.ask("PUT", up(desk) + ".tar", {"Waybill-Sha256": sha256(b"")}, body=body)
    assert (refused.status, refused.code) == (422, "digest_mismatch")
    assert not Object.objects.exists()
    desk.assert_nothing_is_left()
    assert desk.ask("PUT", up(desk) + ".tar", {"Waybill-Sha256": sha256(body)}, body=body).status == 201


def test_other_content_at_one_key_refuses_all_of_an_archive(desk: Desk) -> None:
    desk.stored(b"standing", "run/1/sub/b.bin")
    answer = desk.ask("PUT", up(desk) + ".tar", body=packed(FILES))
    assert (answer.status, answer.code) == (409, "already_exists")
    assert Object.objects.filter(current=True).count() == 1
    assert desk.ask("PUT", up(desk, on_exists=REPLACE) + ".tar", body=packed(FILES)).status == 201
    assert members(desk.ask("GET", down(desk) + ".tar").body) == FILES


def test_limits_of_an_alias_hold_for_archives(desk: Desk) -> None:
    body = packed({"a": b"x" * 100, "b": b"x" * 100})
    for limits in ({"max_total_bytes": 150}, {"max_bytes": 99}):
        answer = desk.ask("PUT", up(desk, **limits) + ".tar", body=body)
        assert (answer.status, answer.code) in ((413, "archive_too_large"), (413, "too_large")), limits
    assert not Object.objects.exists()
    once = up(desk, max_uses=1)
    assert desk.ask("PUT", f"{once}.tar", body=body).status == 201
    assert desk.ask("PUT", f"{once}.tar", body=body).status == 200
    assert desk.ask("PUT", f"{once}.tar", body=packed({"c": b""})).code == "alias_used_up"
    desk.assert_nothing_is_left()
