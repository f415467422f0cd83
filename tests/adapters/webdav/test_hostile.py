"""Servers that lie or mean harm: nothing of it is believed, followed or kept in memory."""
# ruff: noqa: PT012, SIM117 - the block under test is the reading or writing, and servers outlive it

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters.base import Adapter, ObjectStat, Unreachable, WriteMode
from adapters.errors import (
    AccessDenied,
    AdapterError,
    NotFound,
    OutOfSpace,
    SizeMismatch,
    Truncated,
    Unavailable,
    VersionChanged,
)
from adapters.testkit import AdapterContract
from adapters.web_errors import HttpBroken
from adapters.webdav_xml import MOST_BYTES_OF_A_MEMBER, members
from tests.adapters.webdav.storages import build, settings_of
from tests.servers.scripted import Asked, Said, Scripted

DATA = AdapterContract.content(3_000_000)


def adapter_of(server: Scripted) -> Adapter:
    return build(settings_of(server.url))


def multistatus(*responses: str) -> bytes:
    return f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{"".join(responses)}</D:multistatus>'.encode()


def response(href: str, properties: str = "<D:getcontentlength>5</D:getcontentlength>") -> str:
    return (
        f"<D:response><D:href>{href}</D:href><D:propstat><D:prop>{properties}</D:prop>"
        "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )


def listed(document: bytes) -> list[str]:
    pieces: Iterator[bytes] = iter([document[:7], document[7:], b""])
    return [member.path for member in members(lambda _: next(pieces))]


HOSTILE = {
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + multistatus(response("/&b;"))[21:],
    "external": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x">' + multistatus(response("/a"))[21:],
    "undeclared entity": multistatus(response("/&b;")),
    "no XML": b"<html><body>Welcome<br></body>",
    "another document": b'<D:error xmlns:D="DAV:"/>',
    "no namespace": b"<multistatus><response><href>/a</href></response></multistatus>",
    "cut short": multistatus(response("/a"), response("/b"))[:-20],
    "nothing": b"",
    "too long": multistatus(response("/" + "a" * (MOST_BYTES_OF_A_MEMBER + 100_000))),
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE.keys())
def test_document_that_is_no_plain_multistatus_is_refused(document: bytes) -> None:
    def answer(asked: Asked) -> Said:
        return Said(207, document)

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        with pytest.raises(Unavailable):
            list(adapter.scan())
        assert adapter.leaks == 0  # type: ignore[attr-defined]


def test_endless_text_is_not_collected() -> None:
    chunks = 0

    def endless(size: int) -> bytes:
        nonlocal chunks
        chunks += 1
        return multistatus(response("/x"))[:70] + b"a" * 1000 if chunks == 1 else b"a" * size

    tracemalloc.start()
    try:
        with pytest.raises(HttpBroken, match="more"):
            list(members(endless))
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_BYTES_OF_A_MEMBER
    finally:
        tracemalloc.stop()


def test_member_whose_address_lies_elsewhere_names_no_key() -> None:
    found = multistatus(
        response("/"),
        response("/fine"),
        response("http://127.0.0.1:1/other%20host"),
        response("/deeper/down"),
        response("/.."),
        response("/%2e%2e"),
        response("/a%2Fb"),
        response("/%FF"),
        response("relative"),
        response("/line%0Abreak"),
        response("/.name.0123456789abcdef0123456789abcdef.partial"),
    )
    with Scripted(lambda _: Said(207, found)) as server, closing(adapter_of(server)) as adapter:
        found = list(adapter.scan())
        assert [item.key for item in found if isinstance(item, ObjectStat)] == ["fine", "other host"]
        assert [item.key for item in found if isinstance(item, Unreachable)] == ["\\xff", "line\\x0abreak"]
        # Only the one server was ever asked, and only for its root.
        assert {(asked.method, asked.path) for asked in server.asked} == {("PROPFIND", "/")}


def test_a_server_that_takes_no_chunks_and_says_so_as_http_wants_it_replaces_what_is_declared() -> None:
    lies: dict[str, bytes] = {}

    def answer(asked: Asked) -> Said:
        if asked.method == "PUT" and "transfer-encoding" in asked.headers:
            return Said(501)  # RFC 9112, section 6.1
        if asked.method == "PUT":
            lies[asked.path] = asked.body
            return Said(201)
        if asked.method == "DELETE":
            lies.pop(asked.path, None)
            return Said(204)
        if asked.method == "MOVE":
            lies["/key"] = lies.pop(asked.path)
            return Said(201)
        if asked.path not in lies:
            return Said(404) if asked.path != "/" else Said(207, multistatus(response("/")))
        if asked.method == "PROPFIND":
            size = f"<D:getcontentlength>{len(lies[asked.path])}</D:getcontentlength>"
            return Said(207, multistatus(response(asked.path, size)))
        return Said(200, lies[asked.path])

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        AdapterContract.store(adapter, "key", b"the new one", mode=WriteMode.REPLACE)
        assert lies == {"/key": b"the new one"}


def test_listing_of_another_folder_is_refused() -> None:
    found = multistatus(response("/inside/"), response("/inside/x"))
    with Scripted(lambda _: Said(207, found)) as server:
        with closing(build(settings_of(f"{server.url}outside/"))) as adapter, pytest.raises(Unavailable, match="below"):
            list(adapter.scan())


def test_properties_of_a_propstat_that_failed_are_not_believed() -> None:
    failed = (
        "<D:response><D:href>/a</D:href><D:propstat><D:prop><D:getcontentlength>7</D:getcontentlength></D:prop>"
        "<D:status>HTTP/1.1 403 Forbidden</D:status></D:propstat></D:response>"
    )
    gone = "<D:response><D:href>/b</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>"
    assert listed(multistatus(response("/c"), gone, failed)) == ["/c", "/a"]
    with Scripted(lambda _: Said(207, multistatus(failed))) as server, closing(adapter_of(server)) as adapter:
        with pytest.raises(Unavailable, match="size"):
            adapter.stat("a")


@pytest.mark.parametrize(("status", "error"), [(403, AccessDenied), (423, Unavailable), (500, Unavailable)])
def test_a_folder_of_which_the_server_keeps_something_to_itself_is_not_listed_without_it(
    status: int, error: type[AdapterError]
) -> None:
    kept = f"<D:response><D:href>/b</D:href><D:status>HTTP/1.1 {status} No</D:status></D:response>"
    found = multistatus(response("/"), response("/a"), kept)
    with Scripted(lambda _: Said(207, found)) as server, closing(adapter_of(server)) as adapter:
        with pytest.raises(error, match="/b"):
            list(adapter.scan())


@pytest.mark.parametrize("location", ["http://{other}/stolen", "https://{own}/x", "//{other}/x", "/elsewhere", "x"])
def test_redirect_is_refused_and_never_followed(location: str) -> None:
    with Scripted(lambda _: Said(200, b"secret")) as other:
        places = {"other": f"127.0.0.1:{other.port}"}

        def answer(asked: Asked) -> Said:
            return Said(302, b"", {"Location": location.format(own=asked.headers["host"], **places)})

        with Scripted(answer) as server, closing(build(settings_of(server.url, credential={"token": "t"}))) as adapter:
            for call in (
                lambda: adapter.stat("object"),
                lambda: adapter.open_read("object"),
                lambda: AdapterContract.store(adapter, "object", b"data"),
                lambda: adapter.delete("object"),
                lambda: list(adapter.scan()),
            ):
                with pytest.raises(AdapterError, match="redirect") as refused:
                    call()
                assert not refused.value.transient
            assert adapter.check()[-1].step == "list"
        assert other.asked == []


def test_range_that_is_ignored_is_cut_out_of_the_whole() -> None:
    with Scripted(lambda _: Said(200, DATA, {"ETag": '"1"'})) as server, closing(adapter_of(server)) as adapter:
        for start, stop in ((0, 10), (5, 2_000_000), (2_999_999, None), (0, None)):
            assert AdapterContract.fetch(adapter, "object", start, stop) == DATA[start:stop]
        with adapter.open_read("object", 10, 20) as stream:
            assert (stream.stat.size, stream.start, stream.stop) == (len(DATA), 10, 20)


@pytest.mark.parametrize("told", ["bytes 0-9/100", "bytes 10-18/100", "bytes 10-19/*", "bytes 11-20/100", "x", ""])
def test_another_range_than_was_asked_for_is_refused(told: str) -> None:
    headers = {"Content-Range": told} if told else {}
    with Scripted(lambda _: Said(206, b"0123456789", headers)) as server, closing(adapter_of(server)) as adapter:
        with pytest.raises(Unavailable):
            adapter.open_read("object", 10, 20)


def test_body_that_is_shorter_than_it_was_told_is_truncated() -> None:
    def answer(_: Asked) -> Said:
        return Said(200, DATA[:1_000_000], {"Content-Length": str(len(DATA))}, closes=True)

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        read = bytearray()
        with pytest.raises(Truncated), adapter.open_read("object") as stream:
            while piece := stream.read(100_000):
                read += piece
        assert read == DATA[: len(read)]
        assert len(read) >= 900_000


def test_bytes_that_were_compressed_unasked_are_refused() -> None:
    with Scripted(lambda _: Said(200, b"x", {"Content-Encoding": "gzip"})) as server:
        with closing(adapter_of(server)) as adapter, pytest.raises(Unavailable, match="gzip"):
            adapter.open_read("object")
        assert server.asked[0].headers["accept-encoding"] == "identity"


def test_server_that_refuses_in_the_middle_of_an_upload_is_heard() -> None:
    """It answers before it has read the body, and closes: what counts is its answer."""
    nothing_there = {"PROPFIND": Said(404), "DELETE": Said(204)}

    def answer(asked: Asked) -> Said:
        if asked.method == "PUT" and asked.headers["content-length"] != "0":
            return Said(507, closes=True)
        if asked.method == "PROPFIND" and asked.path == "/":
            return Said(207, multistatus(response("/", "<D:resourcetype><D:collection/></D:resourcetype>")))
        return nothing_there.get(asked.method, Said(201))

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        data = bytes(64 * 1024 * 1024)
        with (
            pytest.raises(OutOfSpace),
            adapter.open_write("object", size=len(data)) as session,
        ):
            session.write(data)
            session.publish()
        methods = [(asked.method, asked.path.endswith(".partial")) for asked in server.asked]
        assert ("DELETE", True) in methods
        assert "MOVE" not in {asked.method for asked in server.asked}


@pytest.mark.parametrize(
    ("status", "kind"), [(413, OutOfSpace), (507, OutOfSpace), (423, Unavailable), (503, Unavailable), (404, NotFound)]
)
def test_statuses_mean_what_they_say(status: int, kind: type[AdapterError]) -> None:
    def answer(asked: Asked) -> Said:
        if asked.method == "PROPFIND" and asked.path == "/":
            return Said(207, multistatus(response("/", "<D:resourcetype><D:collection/></D:resourcetype>")))
        return Said(404 if asked.method == "PROPFIND" else status)

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter, pytest.raises(kind):
        AdapterContract.store(adapter, "object", b"data")


def test_stream_that_a_server_takes_for_empty_replaces_nothing() -> None:
    """As some do behind FastCGI: what is sent in chunks is stored as nothing, with a 201."""
    files: dict[str, bytes] = {}

    def answer(asked: Asked) -> Said:
        match asked.method:
            case "PROPFIND" if asked.path == "/":
                folder = response("/", "<D:resourcetype><D:collection/></D:resourcetype>")
                sizes = {path: f"<D:getcontentlength>{len(data)}</D:getcontentlength>" for path, data in files.items()}
                return Said(207, multistatus(folder, *(response(path, size) for path, size in sizes.items())))
            case "PROPFIND" | "GET" | "DELETE" if asked.path not in files:
                return Said(404)
            case "PROPFIND":
                size = f"<D:getcontentlength>{len(files[asked.path])}</D:getcontentlength>"
                return Said(207, multistatus(response(asked.path, size)))
            case "GET":
                return Said(200, files[asked.path])
            case "PUT":
                files[asked.path] = b"" if "transfer-encoding" in asked.headers else asked.body
                return Said(201)
            case "DELETE":
                del files[asked.path]
                return Said(204)
        return Said(405)

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        AdapterContract.store(adapter, "object", b"old", mode=WriteMode.REPLACE)
        AdapterContract.store(adapter, "object", b"the newer one", mode=WriteMode.REPLACE)
        assert "MOVE" not in {asked.method for asked in server.asked}
        with (
            pytest.raises(SizeMismatch),
            adapter.open_write("object", size=None, mode=WriteMode.REPLACE) as session,
        ):
            session.write(DATA)
            session.publish()
        assert files == {"/object": b"the newer one"}
        assert not adapter.traits.atomic_replace


def test_bytes_of_a_file_that_took_the_place_of_the_one_that_was_told_are_not_given_out() -> None:
    """As Apache does it where a file is replaced between its look at it and its opening it."""
    heads = iter(['"old"', '"new"', '"new"', '"new"'])

    def answer(_: Asked) -> Said:
        return Said(200, b"new bytes", {"ETag": next(heads)})

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        with pytest.raises(VersionChanged):
            AdapterContract.fetch(adapter, "object")
        assert AdapterContract.fetch(adapter, "object") == b"new bytes"


def test_a_server_that_does_not_answer_head_is_believed() -> None:
    def answer(asked: Asked) -> Said:
        return Said(405, b"") if asked.method == "HEAD" else Said(200, b"bytes", {"ETag": '"1"'})

    with Scripted(answer) as server, closing(adapter_of(server)) as adapter:
        assert AdapterContract.fetch(adapter, "object") == b"bytes"
