"""A refused upload without a proxy in front: curl reports the status and no reset, however and how slowly it sends."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.meter import Meter
from tests.wire.curl import WAYS, begin, end, send
from tests.wire.desk import Desk

SIZE = 40_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "x.bin"
    path.write_bytes(b"x" * SIZE)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_the_status_is_read_and_no_reset(desk: Desk, large: Path, way: str) -> None:
    for _ in range(3):
        for path, status in ((desk.read(), 405), (desk.write(max_bytes=1), 413), (f"/a/{'A' * 32}/x", 404)):
            ended = send(WAYS[way], large, desk.url(path))
            assert (ended.exit, ended.status) == (0, status), ended
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("way", WAYS)
def test_over_a_slow_line_the_status_comes_long_before_the_body_is_through(desk: Desk, large: Path, way: str) -> None:
    with Meter(desk.port, bytes_per_s=200_000) as meter:
        ended = send(WAYS[way], large, desk.url(desk.read(), port=meter.port))
        assert (ended.exit, ended.status) == (0, 405), ended
        assert meter.sent < SIZE // 10


def test_more_of_them_than_threads_may_listen_to_are_answered_all_the_same(narrow: Desk, large: Path) -> None:
    url = narrow.url(narrow.read())
    running = [begin(["-sS", "-H", "Expect:", "-T", large, url]) for _ in range(16)]
    assert [(ended.exit, ended.status) for ended in map(end, running)] == [(0, 405)] * 16


def test_as_many_that_send_all_before_they_read_are_answered_too(narrow: Desk) -> None:
    """As Python's own client does. Nobody else waits for them meanwhile."""
    path, body = narrow.read(), bytes(SIZE)

    def ask(_: int) -> int:
        return narrow.ask("PUT", path, body=body).status

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(ask, range(8))) == [405] * 8
