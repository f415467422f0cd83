"""Prefix aliases: any number of files below a prefix, in one direction, and nothing outside it."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from adapters.errors import Offline
from staging.models import Alias
from tests.servers.faulty import Faults
from tests.wire.curl import curl
from tests.wire.desk import REPLACE, Desk, sha256

FILES = {
    "out_0": b"zero",
    "out_1": b"one",
    "sub/deep/x y.txt": b"spaced",
    "sub/ü%25.bin": b"odd",
    "sub/a+b#c?d:e&f": b"odder",
    "empty": b"",
}


@pytest.fixture(params=[False, True], ids=["managed", "mounted"])
def mounted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def up(desk: Desk, prefix: str = "run/1/", **spec: object) -> str:
    return desk.folder(prefix, "write-prefix", **spec)


def down(desk: Desk, prefix: str = "run/1/", **spec: object) -> str:
    return desk.folder(prefix, "read-prefix", **spec)


def fill(desk: Desk, mounted: bool = False) -> None:
    url = up(desk, mounted=mounted)
    for name, content in FILES.items():
        assert desk.ask("PUT", url + quote(name), body=content).status == 201, name


def test_files_below_a_prefix_are_objects_of_their_own(desk: Desk, mounted: bool) -> None:
    fill(desk, mounted)
    url = down(desk, mounted=mounted)
    assert url.endswith("/1/")
    for name, content in FILES.items():
        answer = desk.ask("GET", url + quote(name))
        assert (answer.status, answer.body) == (200, content), name
        single = desk.ask("GET", desk.read(f"run/1/{name}", mounted=mounted))
        assert single.body == content
        line = desk.ask("GET", f"{url}{quote(name)}.sha256").body.decode()
        assert line == f"{sha256(content)}  {name.rpartition('/')[2]}\n"
    assert desk.ask("HEAD", url + "out_1")["Content-Length"] == "3"
    assert desk.ask("GET", url + "out_1", {"Range": "bytes=1-"}).body == b"ne"


def test_curl_adds_the_name_of_each_file_by_itself(desk: Desk, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"out_{number}").write_text(f"{number}")
    url = desk.url(up(desk))
    ended = curl("-fsS", "-T", f"{{{','.join(str(tmp_path / f'out_{n}') for n in range(3))}}}", url)
    assert ended.exit == 0, ended
    assert desk.ask("GET", down(desk) + "out_2").body == b"2"


OUTSIDE = [
    "../secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "%2e%2e%2fsecret",
    "%2E%2E%2Fsecret",
    "a/../../secret",
    "./../secret",
    "a//b",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "%00",
    "a%00b",
    "a%0ab",
    ".x.0123456789abcdef0123456789abcdef.partial",
    "x" * 300,
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_prefix_is_reached_however_the_path_is_written(
    desk: Desk, mounted: bool, path: str
) -> None:
    assert desk.ask("PUT", desk.write("run/secret", mounted=mounted), body=b"secret").status == 201
    read = desk.ask("GET", down(desk, mounted=mounted) + path)
    assert read.status in (400, 404), read
    assert b"secret\n" not in read.body
    listed = desk.ask("GET", down(desk, mounted=mounted) + path + "/")
    assert listed.status in (400, 404), listed
    before = sorted(desk.place.files())
    written = desk.ask("PUT", up(desk, mounted=mounted) + path, body=b"evil")
    assert written.status == 400, written
    assert sorted(desk.place.files()) == before


def test_a_path_that_was_encoded_twice_is_another_name(desk: Desk) -> None:
    assert desk.ask("PUT", up(desk) + "%252e%252e%252fsecret", body=b"x").status == 201
    assert desk.content("run/1/%2e%2e%2fsecret") == b"x"


def test_a_name_that_is_not_utf8_is_refused_and_never_taken_for_one_that_is_written_like_it(
    desk: Desk, mounted: bool
) -> None:
    assert desk.ask("PUT", up(desk, mounted=mounted) + "a%25FF", body=b"named so").status == 201
    written = desk.ask("PUT", up(desk, mounted=mounted, on_exists=REPLACE) + "a%FF", body=b"of other bytes")
    assert (written.status, written.code) == (400, "invalid_request")
    for path in ("a%FF", "a%ff", "a%FF.sha256", "a%FF/"):
        read = desk.ask("GET", down(desk, mounted=mounted) + path)
        assert (read.status, read.code) == (400, "invalid_request"), path
    assert desk.ask("HEAD", up(desk, mounted=mounted) + "a%FF").status == 400
    assert desk.ask("GET", down(desk, mounted=mounted) + "a%25FF").body == b"named so"
    assert desk.ask("DELETE", "/api/v1/buckets/any/objects/a%FF").status == 400


def test_waybills_own_folder_is_not_to_be_seen_in_a_mounted_root(desk: Desk) -> None:
    desk.stored(b"managed")
    url = down(desk, "", mounted=True)
    (key,) = desk.place.files()
    assert desk.ask("GET", url + key).status == 404
    assert desk.ask("GET", url + ".waybill/").status == 404
    assert desk.ask("GET", url + "?format=json").body.count(b".waybill") == 0
    assert desk.ask("PUT", up(desk, "", mounted=True) + ".waybill/x", body=b"x").status == 404


def test_the_listing_is_json_by_pages(desk: Desk, mounted: bool) -> None:
    fill(desk, mounted)
    url, found, cursor = down(desk, mounted=mounted), [], ""
    for _ in range(10):
        query = f"?limit=2&recursive=1{f'&cursor={quote(cursor)}' if cursor else ''}"
        answer = desk.ask("GET", url + query, {"Accept": "application/json"})
        document = json.loads(answer.body)
        assert len(document["objects"]) <= 2
        found += document["objects"]
        cursor = document["cursor"]
        if not cursor:
            break
    assert [entry["path"] for entry in found] == sorted(FILES, key=str.encode)
    sizes = {entry["path"]: entry["size"] for entry in found}
    assert sizes == {name: len(content) for name, content in FILES.items()}
    if not mounted:
        assert {entry["path"]: entry["sha256"] for entry in found} == {n: sha256(c) for n, c in FILES.items()}
    top = json.loads(desk.ask("GET", url + "?format=json").body)
    assert (top["folders"], [entry["path"] for entry in top["objects"]]) == (["sub/"], ["empty", "out_0", "out_1"])
    below = json.loads(desk.ask("GET", url + "sub/?format=json").body)
    assert below["folders"] == ["sub/deep/"]


def test_the_listing_for_people_links_every_entry(desk: Desk) -> None:
    fill(desk)
    desk.stored(b"<script>", 'run/1/"><script>alert(1)</script>')
    answer = desk.ask("GET", down(desk))
    assert answer["Content-Type"].startswith("text/html")
    assert b"<script>" not in answer.body
    assert b'href="out_0"' in answer.body
    assert b'href="sub/"' in answer.body
    sub = desk.ask("GET", down(desk) + "sub/").body
    assert quote("a+b#c?d:e&f", safe="").encode() in sub
    assert desk.ask("HEAD", down(desk))["Content-Type"].startswith("text/html")


def test_a_listing_of_more_than_one_page_is_whole(desk: Desk) -> None:
    (desk.place.root / "many").mkdir()
    for number in range(2_500):
        (desk.place.root / "many" / f"{number:05}").touch()
    ended = curl("-fsS", desk.url(down(desk, "many/", mounted=True)))
    assert ended.exit == 0
    assert [line.split(b'"')[1] for line in ended.output.splitlines() if b"href=" in line] == [
        b"%05d" % number for number in range(2_500)
    ]
    page = desk.ask("GET", down(desk, "many/", mounted=True) + "?limit=3").body
    assert page.count(b"<a href=") == 3
    assert b'rel="next" href="?limit=3&amp;cursor=00002"' in page


def test_a_listing_that_fails_on_its_way_is_no_whole_answer(faulty_desk: Desk, faults: Faults) -> None:
    faults.fail("stat", Offline)
    assert faulty_desk.ask("GET", down(faulty_desk, mounted=True) + "x").status == 502


def test_what_is_not_below_the_prefix_and_not_to_come_is_404_at_once(desk: Desk) -> None:
    answer = desk.ask("GET", down(desk) + "none")
    assert (answer.status, answer.code) == (404, "source_missing")
    assert desk.ask("GET", down(desk) + "none/").status == 404
    assert desk.ask("GET", down(desk).removesuffix("/")).status == 404
    up(desk)
    assert desk.ask("GET", down(desk) + "none").code == "data_pending"


def test_the_directions_of_prefix_aliases_are_kept(desk: Desk) -> None:
    assert desk.ask("PUT", down(desk) + "x", body=b"x").status == 405
    assert desk.ask("GET", up(desk) + "x").status == 405
    for path in ("", "sub/"):
        answer = desk.ask("PUT", up(desk) + path, body=b"x")
        assert (answer.status, answer.code) == (400, "invalid_request"), path


def test_an_upload_below_a_prefix_is_resumed_by_its_name(desk: Desk) -> None:
    url = up(desk)
    for name, cut in (("a", 300_000), ("b", 700_000)):
        with desk.line() as line:
            line.begin("PUT", url + name, {"Content-Length": "1000000"})
            line.send(name.encode() * cut)
            line.socket.shutdown(1)
            assert line.answer().status == 400
    assert desk.ask("HEAD", url + "a")["Upload-Offset"] == "300000"
    assert desk.ask("HEAD", url + "b")["Upload-Offset"] == "700000"
    assert desk.ask("HEAD", url + "c")["Upload-Offset"] == "0"
    span = {"Content-Range": "bytes 300000-999999/1000000"}
    assert desk.ask("PUT", url + "a", span, body=b"a" * 700_000).status == 201
    assert desk.content("run/1/a") == b"a" * 1_000_000
    assert desk.ask("HEAD", url + "a")["Upload-Complete"] == "?1"
    desk.place.give_up_what_waits()
    desk.assert_nothing_is_left()


def test_a_stream_that_broke_off_below_a_prefix_taints_its_own_name_only(desk: Desk) -> None:
    url = up(desk)
    assert desk.ask("PUT", url + "a", chunks=[]).status == 422
    refused = desk.ask("PUT", url + "a", chunks=[b"tail"])
    assert (refused.status, refused.code) == (409, "stream_interrupted")
    assert desk.ask("PUT", url + "b", chunks=[b"whole"]).status == 201


def test_a_prefix_takes_so_many_files_and_bytes_and_no_more(desk: Desk) -> None:
    few = up(desk, max_uses=2)
    assert [desk.ask("PUT", f"{few}{number}", body=b"x").status for number in range(3)] == [201, 201, 410]
    assert desk.ask("PUT", f"{few}0", body=b"x")["Waybill-Replayed"] == "true"
    small = up(desk, "run/2/", max_total_bytes=10)
    assert desk.ask("PUT", f"{small}a", body=b"123456").status == 201
    for sent in ({"body": b"12345"}, {"chunks": [b"12345"]}):
        answer = desk.ask("PUT", f"{small}b", **sent)
        assert (answer.status, answer.code) == (413, "too_large")
    assert desk.ask("PUT", f"{small}c", body=b"1234").status == 201
    assert Alias.objects.get(max_total_bytes=10).written_bytes == 10
    desk.assert_nothing_is_left()


def test_files_below_a_prefix_are_replaced_only_where_the_alias_says_so(desk: Desk) -> None:
    fill(desk)
    assert desk.ask("PUT", up(desk) + "out_0", body=b"other").status == 409
    assert desk.ask("PUT", up(desk, on_exists=REPLACE) + "out_0", body=b"other").status == 201
    assert desk.content("run/1/out_0") == b"other"
