"""Resumed uploads on S3, which keeps whole parts only: what HEAD tells is what the service has."""

import pytest

from staging.models import Storage, Upload
from staging.states import StorageState
from staging.storages import adapter_for
from tests.place import Place
from tests.servers.process import wait_until
from tests.wire.desk import KEY, Desk, sha256
from tests.wire.line import Answer

DATA = bytes(range(241)) * 130_000  # 31 MB: several parts


@pytest.mark.parametrize("cut", [1, 5_000_000, 8 * 1024 * 1024, 20_000_000, len(DATA) - 1])
def test_an_upload_goes_on_behind_the_last_whole_part(s3_desk: Desk, cut: int) -> None:
    path = s3_desk.write()
    with s3_desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(DATA)), "Waybill-Sha256": sha256(DATA)})
        line.send(DATA[:cut])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    offset = int(s3_desk.ask("HEAD", path)["Upload-Offset"])
    assert offset <= cut
    assert cut < 20_000_000 or offset > 0
    span = {"Content-Range": f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"} if offset else {}
    assert s3_desk.ask("PUT", path, span, body=DATA[offset:]).status == 201
    assert s3_desk.content() == DATA
    wait_until(lambda: not Upload.objects.exists(), what="nothing is reserved any more")


def cut_in_the_middle(desk: Desk, path: str, data: bytes, cut: int) -> int:
    """Send the beginning, hang up, and return how much of it is safe."""
    with desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(data))})
        line.send(data[:cut])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    return int(desk.ask("HEAD", path)["Upload-Offset"])


def rest(desk: Desk, path: str, offset: int, data: bytes = DATA, headers: dict[str, str] | None = None) -> Answer:
    span = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"}
    return desk.ask("PUT", path, {**span, **(headers or {})}, body=data[offset:])


def seen(desk: Desk) -> list[str]:
    """What everybody sees in the mounted bucket."""
    return [item.key for item in adapter_for(desk.place.storage).scan() if not item.key.startswith(".waybill/")]


def test_an_upload_to_a_mounted_bucket_waits_on_a_fast_storage_until_it_is_whole(s3_desk: Desk, place: Place) -> None:
    path = s3_desk.write(mounted=True)
    offset = cut_in_the_middle(s3_desk, path, DATA, 20_000_001)
    assert offset == 20_000_001, "the fast storage keeps every byte"
    assert seen(s3_desk) == []
    assert rest(s3_desk, path, offset).status == 201
    assert seen(s3_desk) == [KEY]
    assert s3_desk.ask("GET", s3_desk.read(mounted=True)).body == DATA
    place.assert_nothing_is_left()
    assert not Upload.objects.exists()


def test_a_parked_body_that_is_not_what_was_announced_is_never_seen(s3_desk: Desk, place: Place) -> None:
    path = s3_desk.write(mounted=True)
    offset = cut_in_the_middle(s3_desk, path, bytes(len(DATA)), 20_000_000)
    answer = rest(s3_desk, path, offset, headers={"Waybill-Sha256": sha256(DATA)})
    assert answer.code == "parts_differ"
    assert seen(s3_desk) == []
    place.assert_nothing_is_left()
    assert s3_desk.ask("PUT", path, {"Waybill-Sha256": sha256(DATA)}, body=DATA).status == 201


def test_a_parked_body_is_completed_by_the_janitor_and_replaces_nothing_newer(s3_desk: Desk, place: Place) -> None:
    for newer in (False, True):
        path = s3_desk.write(f"d/{newer}", mounted=True, on_exists="replace")
        cut_in_the_middle(s3_desk, path, DATA, len(DATA) - 1)
        upload = Upload.objects.get()
        with adapter_for(upload.storage).resume_write(upload.token) as session:
            session.write(DATA[-1:])
            session.suspend()
        if newer:
            other = s3_desk.write(f"d/{newer}", mounted=True, on_exists="replace")
            assert s3_desk.ask("PUT", other, body=b"newer").status == 201
        place.sweep()
        expected = b"newer" if newer else DATA
        assert s3_desk.ask("GET", s3_desk.read(f"d/{newer}", mounted=True)).body == expected
        assert not Upload.objects.exists()
    place.assert_nothing_is_left()


def test_without_a_fast_storage_the_upload_begins_anew(s3_desk: Desk) -> None:
    Storage.objects.exclude(pk=s3_desk.place.storage.pk).update(state=StorageState.CORDONED)
    path = s3_desk.write(mounted=True)
    assert cut_in_the_middle(s3_desk, path, DATA, 20_000_000) == 0
    assert s3_desk.ask("PUT", path, body=DATA).status == 201
