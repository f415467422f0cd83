"""aria2c and an alias for one use: all its segments together are one delivery."""

from pathlib import Path

from staging.models import Alias
from tests.servers.process import wait_until
from tests.wire.desk import Desk
from tests.zoo.files import DATA, assert_arrived
from tests.zoo.programs import run

KEY = "d/x.bin"
SEGMENTED = ("--no-conf", "-q", "--file-allocation=none", "-x16", "-s16", "-k1M")


def test_a_download_in_sixteen_segments_is_one_use(desk: Desk, tmp_path: Path) -> None:
    # aria2c begins with a GET of the whole and breaks that off after its first part, once other connections have
    # brought the rest: without the limit the first connection might bring everything by itself.
    data = DATA * 4
    desk.stored(data)
    take_the_only_use(desk, tmp_path, data, "--max-download-limit=20M")


def test_what_the_first_connection_brought_does_not_use_the_alias_up_for_the_others(desk: Desk, tmp_path: Path) -> None:
    # At this size the answer to the GET of the whole often fits into the buffers of the network: Waybill has sent it,
    # aria2c breaks it off, and its other connections ask on.
    desk.stored(DATA)
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        download(desk, folder, DATA, desk.read(max_uses=1))
    # What was on its way when a connection was reset counts for the client: such a download may be free, never two.
    assert {alias.uses for alias in Alias.objects.filter(max_uses=1)} <= {0, 1}


def download(desk: Desk, folder: Path, data: bytes, path: str, *options: str) -> None:
    """In segments; all bytes arrive."""
    ended = run("aria2c", *SEGMENTED, *options, "-o", "x.bin", desk.url(path), package="aria2", folder=folder)
    assert ended.exit == 0, ended
    assert_arrived(desk, KEY, data, folder / "x.bin")


def take_the_only_use(desk: Desk, folder: Path, data: bytes, *options: str) -> None:
    """Download through an alias that may be used once; it is used up then."""
    path = desk.read(max_uses=1)
    download(desk, folder, data, path, *options)
    made = Alias.objects.filter(max_uses=1).latest("created_at")
    wait_until(lambda: Alias.objects.get(pk=made.pk).uses == 1, what="the delivery is counted")
    used_up = desk.ask("GET", path)
    assert (used_up.status, used_up.code) == (410, "alias_used_up")
