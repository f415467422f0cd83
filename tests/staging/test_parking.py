"""Parking: bodies wait on a fast storage where their own cannot go on with an upload, as long as there is room."""

from dataclasses import replace

import pytest

from staging.models import Storage
from staging.parking import LEAST_BYTES
from tests.servers.faulty import FaultyAdapter
from tests.staging.yard import BACK, Yard


@pytest.fixture
def lot(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """A yard whose slow storages cannot go on with an upload."""
    monkeypatch.setattr(FaultyAdapter, "traits", replace(FaultyAdapter.traits, resumes=False))
    Storage.objects.exclude(name="fast").update(tier=2)
    Storage.objects.filter(name="fast").update(scheme="local", capacity_bytes=2 * LEAST_BYTES)
    return yard


def test_a_body_for_which_no_fast_storage_has_room_goes_straight_to_its_own(lot: Yard) -> None:
    body = bytes(2 * LEAST_BYTES + 1)
    assert lot.where(lot.put(lot.bucket(), "x", body)) == {"home": "available"}
    lot.assert_all_is_counted()


def test_bytes_that_are_not_safe_yet_leave_no_room_to_wait_in(lot: Yard) -> None:
    dirty = lot.put(lot.bucket("back", **BACK), "x", bytes(LEAST_BYTES))
    assert lot.where(lot.put(lot.bucket(), "x", bytes(LEAST_BYTES + 1))) == {"home": "available"}
    assert lot.where(dirty) == {"fast": "dirty"}
    lot.assert_all_is_counted()
