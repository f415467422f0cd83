"""A bit flips on the disk: curl gets the right bytes from another replica, or it fails."""

from pathlib import Path

import pytest

from staging.blocks import BLOCK_BYTES
from staging.models import Event, Object
from tests.staging.test_verified_reading import DATA, SMALL, first_file, flip, second_copy
from tests.wire.curl import curl
from tests.wire.desk import Desk


def made_of(desk: Desk) -> Object:
    made = desk.current()
    assert made
    return made


@pytest.mark.parametrize(("data", "at"), [(DATA, 0), (DATA, len(DATA) - 1), (SMALL, 9)])
def test_curl_gets_the_right_bytes_where_a_good_replica_exists(
    desk: Desk, tmp_path: Path, data: bytes, at: int
) -> None:
    path, target = desk.stored(data), tmp_path / "got"
    second_copy(desk.place, made_of(desk))
    flip(first_file(desk.place, made_of(desk)), at)
    assert curl("-fsS", "-o", target, desk.url(path)).exit == 0
    assert target.read_bytes() == data
    assert Event.objects.filter(kind="replica.bad").count() == 1


def test_curl_never_ends_well_where_the_only_replica_is_damaged(desk: Desk, tmp_path: Path) -> None:
    path, target, at = desk.stored(DATA), tmp_path / "got", BLOCK_BYTES + 10
    file = first_file(desk.place, made_of(desk))
    flip(file, at)
    whole = curl("-sS", "-o", target, desk.url(path))
    assert (whole.exit, whole.status) == (18, 200), "it had begun when the damage was found"
    assert target.read_bytes() == DATA[: target.stat().st_size]
    touching = desk.ask("GET", path, {"Range": f"bytes={at - 3}-{at + 3}"})
    assert (touching.status, touching["Waybill-Error-Code"]) == (502, "storage_damaged")
    assert touching["Waybill-Retryable"] == "true"
    assert curl("-fsS", "-r", f"{at}-{at}", desk.url(path)).exit == 22
    assert curl("-fsS", "-C", "-", "-o", target, desk.url(path)).exit == 22
    elsewhere = curl("-fsS", "-r", f"{BLOCK_BYTES - 9}-{BLOCK_BYTES - 1}", desk.url(path))
    assert (elsewhere.exit, elsewhere.output) == (0, DATA[BLOCK_BYTES - 9 : BLOCK_BYTES])
    flip(file, at)
    assert curl("-fsS", "-C", "-", "-o", target, desk.url(path)).exit == 0
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("begun", [1, BLOCK_BYTES, BLOCK_BYTES + 500, len(DATA) - 1])
def test_a_download_goes_on_beside_the_damage(desk: Desk, tmp_path: Path, begun: int) -> None:
    path, target = desk.stored(DATA), tmp_path / "got"
    second_copy(desk.place, made_of(desk))
    flip(first_file(desk.place, made_of(desk)), 2 * BLOCK_BYTES + 1)
    target.write_bytes(DATA[:begun])
    assert curl("-fsS", "-C", "-", "-o", target, desk.url(path)).exit == 0
    assert target.read_bytes() == DATA
