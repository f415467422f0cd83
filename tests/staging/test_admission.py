"""Admission: what is refused before the first byte is what would be refused after it, and nothing else is."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from staging import admission, alias_uses, aliases, writing
from staging.errors import StagingError
from staging.models import Alias, Bucket, Storage, Upload
from staging.offers import Offer
from staging.states import AliasMode, OnExists, StorageState
from tests.place import Place
from tests.staging.bodies import KEY, Body, put

DATA = b"waybill" * 1000
SHA256 = hashlib.sha256(DATA).digest()
KNOWN, STREAM = Offer(len(DATA)), Offer(None)

Arrange = Callable[[Place], Alias]


def write(**spec: Any) -> Arrange:
    return lambda place: place.alias(KEY, AliasMode.WRITE, **spec)


def after(content: bytes, **spec: Any) -> Arrange:
    """An alias of a key at which this content stands."""

    def arrange(place: Place) -> Alias:
        put(place, content)
        return place.alias(KEY, AliasMode.WRITE, **spec)

    return arrange


def used_up(*, content: bytes | None) -> Arrange:
    def arrange(place: Place) -> Alias:
        if content is not None:
            put(place, content)
        alias = place.alias(KEY, AliasMode.WRITE, max_uses=1)
        alias_uses.count_delivery(alias)
        return Alias.objects.get(pk=alias.pk)

    return arrange


def on_storage(**columns: Any) -> Arrange:
    def arrange(place: Place) -> Alias:
        Storage.objects.filter(pk=place.storage.pk).update(**columns)
        return Alias.objects.get(pk=place.alias(KEY, AliasMode.WRITE).pk)

    return arrange


def with_policy(place: Place) -> Alias:
    Bucket.objects.filter(pk=place.managed.pk).update(policy={"max_object_bytes": 10})
    return Alias.objects.get(pk=place.alias(KEY, AliasMode.WRITE).pk)


def broken_off(place: Place) -> Alias:
    alias = place.alias(KEY, AliasMode.WRITE)
    writing.note_stream_cut(alias, KEY)
    return alias


def wrong_options(place: Place) -> Alias:
    return on_storage(options={"root": "not absolute"}, revision=99)(place)


CASES: dict[str, tuple[Arrange, Offer]] = {
    "a new key": (write(), KNOWN),
    "a stream": (write(), STREAM),
    "the right size and digest": (write(size=len(DATA), sha256=SHA256.hex()), Offer(len(DATA), "", {"sha256": SHA256})),
    "too large": (write(max_bytes=10), KNOWN),
    "too large for the bucket": (with_policy, KNOWN),
    "another size": (write(size=10), KNOWN),
    "another digest": (write(sha256="0" * 64), Offer(len(DATA), "", {"sha256": SHA256})),
    "equal content": (after(DATA), KNOWN),
    "content of another size": (after(b"other"), KNOWN),
    "content of another digest": (after(b"x" * len(DATA)), Offer(len(DATA), "", {"sha256": SHA256})),
    "content to be replaced": (after(b"other", on_exists=OnExists.REPLACE), KNOWN),
    "used up and nothing there": (used_up(content=None), KNOWN),
    "used up and equal": (used_up(content=DATA), KNOWN),
    "used up and different": (used_up(content=b"other"), KNOWN),
    "what may be a tail": (broken_off, STREAM),
    "a file after a tail": (broken_off, KNOWN),
    "a part of nothing": (write(), Offer(100, start=50, total=150)),
    "a part of what is complete": (after(DATA), Offer(100, start=50, total=150)),
    "the first part of what stands there": (after(DATA), Offer(100, total=200, is_last=False, resumable=True)),
    "a first part": (write(), Offer(len(DATA), total=2 * len(DATA), is_last=False, resumable=True)),
    "a part of too large a whole": (write(max_bytes=100), Offer(50, start=50, total=150)),
    "no space": (on_storage(capacity_bytes=len(DATA) - 1), KNOWN),
    "just enough space": (on_storage(capacity_bytes=len(DATA)), KNOWN),
    "cordoned": (on_storage(state=StorageState.CORDONED), KNOWN),
    "suspect": (on_storage(state=StorageState.SUSPECT), KNOWN),
    "lost": (on_storage(state=StorageState.LOST), KNOWN),
    "settings that cannot be used": (wrong_options, KNOWN),
}
ADMITTED = {
    *("a new key", "a stream", "the right size and digest", "equal content", "content to be replaced"),
    *("used up and equal", "a file after a tail", "just enough space", "a first part"),
}


def refusal_of(attempt: Callable[[], object]) -> tuple[type[StagingError], str] | None:
    try:
        attempt()
    except StagingError as exc:
        return type(exc), exc.detail
    return None


@pytest.mark.parametrize("case", CASES)
def test_admission_refuses_exactly_what_the_upload_would_be_refused_with(place: Place, case: str) -> None:
    arrange, offer = CASES[case]
    alias = arrange(place)
    before = refusal_of(lambda: admission.admit(alias, offer))
    assert not Upload.objects.exists()
    assert Storage.objects.get(pk=place.storage.pk).reserved_bytes == 0
    assert before == refusal_of(lambda: writing.receive_part(alias, offer, Body(DATA)))
    assert (before is None) == (case in ADMITTED), before


def test_what_only_the_bytes_can_tell_is_admitted(place: Place) -> None:
    alias = after(b"x" * len(DATA))(place)
    admission.admit(alias, KNOWN)
    assert refusal_of(lambda: writing.receive(alias, KNOWN, Body(DATA)))


@pytest.mark.parametrize(("columns", "most"), [({}, 1), ({"capacity_bytes": 10**9}, 2)])
def test_the_question_is_cheap(place: Place, columns: dict[str, int], most: int) -> None:
    alias = aliases.resolve(aliases.token_of(on_storage(**columns)(place)))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        admission.admit(alias, KNOWN)
    assert len(queries) == most
