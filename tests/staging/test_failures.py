"""Failed producers: when a reader is told that nothing will come, and when it is still to wait."""

import pytest
from django.utils import timezone

from staging import aliases, failures, reading, retiring, writing
from staging.errors import DataPending, ProducerFailed, SourceMissing
from staging.models import Alias
from staging.states import AliasMode
from staging.writing import Offer
from tests.place import Place
from tests.staging.bodies import Body, put

KEY = "run/out"


def look(place: Place, *, mounted: bool = False) -> None:
    reading.find(place.alias(KEY, mounted=mounted))


def failed(place: Place, reason: str = "exit status 1", *, mounted: bool = False) -> Alias:
    alias = place.alias(KEY, AliasMode.WRITE, mounted=mounted)
    assert failures.fail(alias, reason)
    return alias


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_a_reader_is_told_the_reason_once_nobody_is_left_to_write(place: Place, mounted: bool) -> None:
    other = place.alias(KEY, AliasMode.WRITE, mounted=mounted)
    failed(place, "exit status 137", mounted=mounted)
    with pytest.raises(DataPending):
        look(place, mounted=mounted)
    aliases.revoke(other)
    with pytest.raises(ProducerFailed, match="exit status 137"):
        look(place, mounted=mounted)
    place.alias(KEY, AliasMode.WRITE, mounted=mounted)
    with pytest.raises(DataPending):
        look(place, mounted=mounted)


def test_a_failed_and_revoked_producer_has_still_failed(place: Place) -> None:
    aliases.revoke(failed(place))
    with pytest.raises(ProducerFailed):
        look(place)


def test_an_upload_through_a_failed_alias_is_taken_and_undoes_the_failure(place: Place) -> None:
    alias = failed(place)
    writing.receive(alias, Offer(9), Body(b"after all"))
    alias.refresh_from_db()
    assert (alias.failed_at, alias.failure) == (None, "")
    look(place)


def test_a_failure_that_is_older_than_the_last_version_is_no_reason(place: Place) -> None:
    alias = failed(place)
    made = put(place, b"by another", key=KEY).object
    place.managed.aliases.update(revoked_at=timezone.now())
    retiring.delete(made)
    alias.refresh_from_db()
    assert alias.failed_at
    with pytest.raises(SourceMissing):
        look(place)


@pytest.mark.parametrize(
    ("prefix", "error"), [("", ProducerFailed), ("run/", ProducerFailed), ("run/out/", DataPending)]
)
def test_a_producer_of_a_whole_folder_fails_for_every_key_below(
    place: Place, prefix: str, error: type[Exception]
) -> None:
    alias = place.alias("x", AliasMode.WRITE)
    Alias.objects.filter(pk=alias.pk).update(mode=AliasMode.WRITE_PREFIX, key=prefix)
    alias.refresh_from_db()
    failures.fail(alias, "")
    with pytest.raises(error):
        look(place)
