"""Beginnings: what is written of a download, and when."""

from datetime import timedelta

import pytest
from django.db import connection

from staging import beginnings
from staging.beginnings import Download
from staging.models import Beginning
from tests.place import Place


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download lasts long, and there are none of other tests, which may have left answers unread."""
    monkeypatch.setattr(beginnings, "LONG", beginnings.LONG * 0)
    monkeypatch.setattr(beginnings, "_under_way", set())


def written() -> list[tuple[str, bool, int]]:
    return list(Beginning.objects.order_by("at", "pk").values_list("version", "broke_off", "under_way"))


def test_a_short_download_that_comes_to_its_end_asks_the_database_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginnings, "LONG", timedelta(hours=1))
    download = Download(place.alias("k"), "v1")
    with connection.execute_wrapper(lambda *_: pytest.fail("there is nothing to note")):
        download.begin()
        beginnings.note_what_lasts()
        download.end(complete=True)
    assert not beginnings._under_way


def test_each_download_that_lasts_is_counted_once_and_its_end_too(place: Place) -> None:
    alias = place.alias("k")
    first, second = Download(alias, "v1"), Download(alias, "v1")
    for download in (first, second):
        download.begin()
    for _ in range(2):
        beginnings.note_what_lasts()
        assert written() == [("v1", False, 2)]
    first.end(complete=True)
    assert written() == [("v1", False, 1)]
    assert not beginnings.may_go_on(alias, "v2", unless_begun=True)
    second.end(complete=False)
    beginnings.note_what_lasts()
    assert written() == [("v1", True, 0)]
    assert not beginnings.may_go_on(alias, "v2", unless_begun=True)
    assert beginnings.may_go_on(alias, "v1", unless_begun=False)


def test_what_is_noted_late_counts_from_when_it_began(place: Place) -> None:
    alias = place.alias("k")
    download = Download(alias, "v1")
    download.begin()
    beginnings.note(alias, "v2")
    beginnings.note_what_lasts()
    assert [version for version, *_ in written()] == ["v1", "v2"]
    download.end(complete=True)
    assert beginnings.may_go_on(alias, "v2", unless_begun=False)


def test_downloads_of_an_alias_that_was_removed_are_noted_no_more(place: Place) -> None:
    alias = place.alias("k")
    download = Download(alias, "v1")
    download.begin()
    alias.__class__.objects.filter(pk=alias.pk).delete()
    beginnings.note_what_lasts()
    assert not beginnings._under_way
    assert not written()
