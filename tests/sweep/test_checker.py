"""The sweep's own checks fail where they must: changed bytes, versions that are not there, space that leaked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from django.db.models import F

from staging.models import BlockSums, Object, Replica, Storage
from tests.servers.cutting_line import Direction, How
from tests.sweep import checker, runner
from tests.sweep.cases import At, Case, Client, Fault, Form
from tests.sweep.runner import run
from tests.wire.desk import Desk

GET = Case(Fault.LINE, Client.RAW, Form.GET, Direction.RESPONSE, At.MIDDLE, How.FIN)


def flip(desk: Desk) -> None:
    """Change one byte of the only replica behind the catalog's back."""
    file = desk.place.root / Replica.objects.get().key
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)


def test_bytes_that_changed_on_the_disk_are_found(desk: Desk) -> None:
    desk.stored(b"right")
    checker.check_bytes(desk.place)
    flip(desk)
    with pytest.raises(AssertionError):
        checker.check_bytes(desk.place)


def test_a_download_of_wrong_bytes_is_found(desk: Desk, tmp_path: Path) -> None:
    def lie() -> None:
        """Have the catalog vouch for the changed bytes, or else Waybill would not hand them out."""
        flip(desk)
        changed = (desk.place.root / Replica.objects.get().key).read_bytes()
        Object.objects.update(sha256=hashlib.sha256(changed).hexdigest())
        BlockSums.objects.all().delete()

    with pytest.raises(AssertionError, match=f"{GET.id}.*wrong bytes"):
        run(desk, [GET], tmp_path, begin=lie)


@pytest.mark.parametrize("versions", [[], [b"other"], [b"old", b"right"], [b"righ"]])
def test_versions_other_than_those_that_must_be_there_are_found(desk: Desk, versions: list[bytes]) -> None:
    desk.stored(b"right", "d/x")
    checker.check_stored(desk, "d/x", [b"right"])
    with pytest.raises(AssertionError):
        checker.check_stored(desk, "d/x", versions)


def test_space_that_leaks_is_found(desk: Desk, tmp_path: Path) -> None:
    def leak() -> None:
        Storage.objects.filter(pk=desk.place.storage.pk).update(reserved_bytes=F("reserved_bytes") + 1)

    with pytest.raises(AssertionError, match="reserved"):
        run(desk, [GET], tmp_path, begin=leak)


def test_a_cut_that_nobody_felt_is_found(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Case(Fault.LINE, Client.RAW, Form.PUT, Direction.REQUEST, At.MIDDLE, How.FIN)
    monkeypatch.setattr(runner.CuttingLine, "arm", lambda line, cut: None)
    with pytest.raises(AssertionError, match="never came to its cut"):
        run(desk, [put], tmp_path)
