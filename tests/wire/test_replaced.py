"""Objects that are replaced while somebody downloads them: the rest of another version never ends a download well."""

import os
from pathlib import Path

import pytest
from django.utils import timezone

from gateway.data.download import CLOCKS_DIFFER_BY
from staging.models import Alias, Beginning
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.curl import curl
from tests.wire.desk import KEY, REPLACE, Desk
from tests.wire.line import Answer

OLD, NEW = b"a" * 2_000_000, b"b" * 2_000_000


def begun_and_replaced(desk: Desk, target: Path, new: bytes = NEW) -> str:
    """The path of an object that was replaced when half of it had come to ``target``."""
    path = desk.stored(OLD)
    target.write_bytes(OLD[:1_000_000])
    assert desk.ask("PUT", desk.write(on_exists=REPLACE), body=new).status == 201
    return path


@pytest.mark.parametrize(
    ("method", "headers", "status"), [("HEAD", {}, 200), ("GET", {"If-None-Match": "*"}, 304)], ids=["HEAD", "304"]
)
def test_a_look_at_the_new_version_begins_no_download_of_it(
    desk: Desk, tmp_path: Path, method: str, headers: dict[str, str], status: int
) -> None:
    path = begun_and_replaced(desk, tmp_path / "x")
    assert desk.ask(method, path, headers).status == status
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x", desk.url(path))
    assert (ended.exit, ended.status) == (22, 412)


@pytest.mark.parametrize("size", [900_000, 1_000_000])
def test_a_half_of_the_old_version_is_not_taken_for_all_of_a_smaller_one(desk: Desk, tmp_path: Path, size: int) -> None:
    path = begun_and_replaced(desk, tmp_path / "x", NEW[:size])
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x", desk.url(path))
    assert (ended.exit, ended.status) == (22, 412)
    fresh = curl("-fsS", "-o", tmp_path / "x", desk.url(path))
    assert (fresh.exit, fresh.status) == (0, 200)
    complete = curl("-fsS", "-C", "-", "-o", tmp_path / "x", desk.url(path))
    assert (complete.exit, complete.status) == (0, 416)
    assert (tmp_path / "x").read_bytes() == NEW[:size]


def test_an_older_file_that_is_moved_into_a_mounted_bucket_is_another_version(desk: Desk, tmp_path: Path) -> None:
    file, other = desk.place.root / KEY, desk.place.root / "other"
    file.parent.mkdir()
    file.write_bytes(OLD)
    path = desk.read(mounted=True)
    assert desk.ask("GET", path, {"Range": "bytes=5-9"}).status == 206, "nothing was begun, so nothing is mixed"
    began = desk.ask("GET", path, {"Range": "bytes=0-999999"})
    (tmp_path / "x").write_bytes(began.body)
    other.write_bytes(NEW)
    os.utime(other, (1_600_000_000, 1_600_000_000))
    other.replace(file)
    ended = curl("-fsS", "-C", "-", "-o", tmp_path / "x", desk.url(path))
    assert (ended.exit, ended.status) == (22, 412)
    whole = desk.ask("GET", path)
    assert whole.body == NEW
    assert desk.ask("GET", path, {"Range": "bytes=5-9"}).code == "precondition_failed", "somebody has half of the other"
    assert desk.ask("GET", path, {"Range": "bytes=5-9", "If-Match": whole["ETag"]}).body == NEW[5:10]


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_who_had_all_of_the_old_version_can_go_on_with_the_new_one(desk: Desk, mounted: bool) -> None:
    assert desk.ask("PUT", desk.write(mounted=mounted), body=OLD).status == 201
    path = desk.read(mounted=mounted)
    assert desk.ask("GET", path).body == OLD
    assert desk.ask("PUT", desk.write(mounted=mounted, on_exists=REPLACE), body=NEW).status == 201
    assert desk.ask("GET", path, {"Range": "bytes=0-9"}).body == NEW[:10]
    assert desk.ask("GET", path, {"Range": "bytes=10-"}).body == NEW[10:], "this download began with the new one"


def put_older(desk: Desk, key: str, data: bytes) -> None:
    """Move a file into the mounted bucket that is older than the one there, as mv, cp -p and rsync -t do."""
    file, other = desk.place.root / key, desk.place.root / "other"
    file.parent.mkdir(exist_ok=True)
    other.write_bytes(data)
    os.utime(other, (1_600_000_000, 1_600_000_000))
    other.replace(file)


def test_below_a_prefix_each_file_has_its_own_beginning(desk: Desk) -> None:
    folder = desk.folder("d/", "read-prefix", mounted=True)
    for name, data in (("x", OLD), ("y", NEW)):
        put_older(desk, f"d/{name}", data)
        (desk.place.root / "d" / name).touch()
        assert desk.ask("GET", f"{folder}{name}", {"Range": "bytes=0-9"}).status == 206
    for name in ("x", "y"):
        assert desk.ask("GET", f"{folder}{name}", {"Range": "bytes=10-"}).status == 206, "nothing was replaced"
    put_older(desk, "d/x", NEW)
    put_older(desk, "d/y", OLD)
    for name in ("x", "y"):
        assert desk.ask("GET", f"{folder}{name}", {"Range": "bytes=10-"}).code == "precondition_failed"


def replaced(desk: Desk, path: str, new: bytes, *, mounted: bool) -> Answer:
    """Replace the object, and fetch the new version as another client of the same alias."""
    assert desk.ask("PUT", desk.write(mounted=mounted, on_exists=REPLACE), body=new).status == 201
    other = desk.ask("GET", path)
    assert other.body == new
    return other


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_another_client_of_the_alias_does_not_make_the_half_of_the_old_version_go_on(desk: Desk, mounted: bool) -> None:
    old, new = OLD * 8, NEW * 8
    assert desk.ask("PUT", desk.write(mounted=mounted), body=old).status == 201
    path = desk.read(mounted=mounted)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        line.wait_for_some()
    wait_until(lambda: Beginning.objects.filter(broke_off=True).exists(), what="the gateway has seen the break")
    other = replaced(desk, path, new, mounted=mounted)
    assert desk.ask("GET", path, {"Range": "bytes=1000-"}).code == "precondition_failed", "it may be either client"
    assert desk.ask("GET", path, {"Range": "bytes=1000-", "If-Match": "*"}).code == "precondition_failed"
    assert desk.ask("GET", path, {"Range": "bytes=1000-", "If-Match": other["ETag"]}).body == new[1000:]


def test_a_segment_of_the_old_version_is_a_download_that_somebody_goes_on_with(desk: Desk) -> None:
    path = desk.stored(OLD)
    assert desk.ask("GET", path, {"Range": "bytes=0-999"}).status == 206
    replaced(desk, path, NEW, mounted=False)
    assert desk.ask("GET", path, {"Range": "bytes=1000-1999"}).code == "precondition_failed"


def test_an_alias_made_by_a_clock_that_is_fast_does_not_mix_versions(desk: Desk) -> None:
    path = desk.stored(OLD)
    Alias.objects.update(created_at=timezone.now() + CLOCKS_DIFFER_BY / 2)
    assert desk.ask("GET", path, {"Range": "bytes=0-999"}).status == 206
    replaced(desk, path, NEW, mounted=False)
    assert desk.ask("GET", path, {"Range": "bytes=1000-1999"}).code == "precondition_failed"


def test_parts_of_what_was_replaced_a_moment_before_the_alias_are_served(desk: Desk) -> None:
    desk.stored(OLD)
    assert desk.ask("PUT", desk.write(on_exists=REPLACE), body=NEW).status == 201
    path = desk.read()
    for _ in range(2):
        assert desk.ask("GET", path, {"Range": "bytes=1000-1999"}).body == NEW[1000:2000]
        assert desk.ask("GET", path, {"Range": "bytes=0-999"}).body == NEW[:1000]


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_while_a_download_of_the_old_version_lasts_its_client_may_be_the_one_that_goes_on(
    desk: Desk, mounted: bool
) -> None:
    old, new = OLD * 8, NEW * 8
    assert desk.ask("PUT", desk.write(mounted=mounted), body=old).status == 201
    path = desk.read(mounted=mounted)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        line.wait_for_some()
        wait_until(Beginning.objects.filter(under_way=1).exists, what="the download is noted")
        replaced(desk, path, new, mounted=mounted)
        assert desk.ask("GET", path, {"Range": "bytes=1000-"}).code == "precondition_failed", "its network may be gone"
        assert line.answer().body == old
    wait_until(Beginning.objects.filter(under_way=0).exists, what="it is noted that it came to its end")
    assert desk.ask("GET", path, {"Range": "bytes=1000-"}).body == new[1000:]


def test_what_a_gateway_was_sending_when_it_was_killed_is_not_forgotten(
    django_db_setup: None, place: Place, tmp_path: Path
) -> None:
    with Gateway(tmp_path, **installation()) as gateway:
        desk = Desk(gateway, place)
        path = desk.stored(OLD * 8)
        with desk.line(receive_buffer=4096) as line:
            line.begin("GET", path)
            line.wait_for_some()
            wait_until(Beginning.objects.filter(under_way=1).exists, what="the download is noted")
            gateway.kill()
        gateway.start()
        assert desk.ask("GET", path, {"Range": "bytes=1000-"}).body == (OLD * 8)[1000:], "nothing was replaced"
        other = replaced(desk, path, NEW * 8, mounted=False)
        assert desk.ask("GET", path, {"Range": "bytes=1000-"}).code == "precondition_failed"
        about = {"Range": "bytes=1000-", "If-Range": other["ETag"]}
        assert desk.ask("GET", path, about).body == (NEW * 8)[1000:]
