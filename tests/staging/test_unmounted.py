"""A storage whose file system is not mounted: an empty folder says nothing of the bytes that belong in it."""

import pytest

from adapters.errors import Truncated
from staging.models import Transfer
from tests.staging.yard import DATA, Yard, read


def test_no_copy_is_condemned_while_nothing_is_mounted(yard: Yard) -> None:
    stored = yard.put(yard.bucket(), "a", DATA)
    root, away = yard.folder / "home", yard.folder / "away"
    root.rename(away)
    root.mkdir()
    with pytest.raises(Truncated):
        read(stored)
    assert yard.work()
    verify = Transfer.objects.get(kind="verify")
    assert (verify.state, verify.error_code) == ("queued", "offline")
    assert "mounted" in verify.error_detail
    root.rmdir()
    away.rename(root)
    yard.hurry()
    yard.work()
    stored.refresh_from_db()
    assert (stored.state, yard.where(stored)) == ("available", {"home": "available"})
    assert read(stored) == DATA


def test_a_copy_that_is_gone_where_others_are_is_condemned(yard: Yard) -> None:
    runs = yard.bucket()
    stored, other = yard.put(runs, "a", DATA), yard.put(runs, "b", DATA + b"!")
    (yard.folder / "home" / yard.copy_on(stored, "home").key).unlink()
    with pytest.raises(Truncated):
        read(stored)
    yard.work()
    assert (yard.where(stored), yard.where(other)) == ({"home": "bad"}, {"home": "available"})
