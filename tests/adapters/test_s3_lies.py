"""An S3 server, or what sits before one, that answers other than it was asked: such bytes are never the object's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.errors import AdapterError, Unavailable
from adapters.testkit import AdapterContract
from tests.servers.scripted import Asked, Said, Scripted

DATA = AdapterContract.content(100_000)
TAG = {"ETag": '"0123456789abcdef0123456789abcdef"', "Last-Modified": "Thu, 26 Nov 2026 09:31:37 GMT"}


@contextmanager
def answering(answer: Callable[[Asked], Said]) -> Iterator[Adapter]:
    with Scripted(answer) as server:
        options = {"endpoint": server.url.rstrip("/"), "bucket": "bucket"}
        adapter = registry.build("s3", "liar", options, {"access_key": "a", "secret_key": "s"})
        with closing(adapter):
            yield adapter
            assert adapter.leaks == 0


def test_a_part_where_the_whole_was_asked_for_is_not_taken_for_the_whole() -> None:
    part = Said(206, DATA[:1000], {**TAG, "Content-Range": f"bytes 0-999/{len(DATA)}"})
    with answering(lambda _: part) as adapter, pytest.raises(Unavailable, match="206"):
        AdapterContract.fetch(adapter, "key")


def test_the_page_of_a_proxy_is_no_object() -> None:
    with answering(lambda _: Said(200, b"<html>please log in</html>", {"Content-Type": "text/html"})) as adapter:
        for call in (lambda: AdapterContract.fetch(adapter, "key"), lambda: adapter.stat("key")):
            with pytest.raises(Unavailable):
                call()


@pytest.mark.parametrize(
    "said",
    [
        Said(200, DATA, TAG),
        Said(206, DATA[:90], TAG),
        Said(206, DATA[:90], {**TAG, "Content-Range": f"bytes 0-89/{len(DATA)}"}),
        Said(206, DATA[10:50], {**TAG, "Content-Range": f"bytes 10-49/{len(DATA)}"}),
        Said(
            206, DATA[10:50], {**TAG, "Content-Range": f"bytes 10-99/{len(DATA)}", "Content-Length": "90"}, closes=True
        ),
        Said(200, b"<html>captive portal</html>", {"Content-Type": "text/html"}),
        Said(307, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
        Said(204, b"", TAG),
    ],
)
def test_what_is_not_the_range_that_was_asked_for_is_refused_and_may_pass(said: Said) -> None:
    with answering(lambda _: said) as adapter, pytest.raises(AdapterError) as refused:
        assert AdapterContract.fetch(adapter, "key", 10, 100) == DATA[10:100]
    assert refused.value.transient


def test_the_sum_of_the_sums_of_parts_is_not_taken_for_that_of_the_bytes() -> None:
    told = {**TAG, "x-amz-checksum-crc32": "AAAAAA=="}
    with answering(lambda _: Said(200, DATA, told)) as adapter, pytest.raises(Unavailable, match="checksum"):
        AdapterContract.fetch(adapter, "key")
    with answering(lambda _: Said(200, DATA, {**told, "x-amz-checksum-type": "COMPOSITE"})) as adapter:
        assert AdapterContract.fetch(adapter, "key") == DATA
