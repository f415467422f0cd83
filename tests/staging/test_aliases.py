"""Aliases: unguessable, found by their token alone, and refused for the right reason."""

import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import Settings

from staging import alias_uses, aliases
from staging.errors import AliasExpired, AliasRevoked, AliasUnknown, AliasUsedUp, InvalidRequest
from staging.models import Alias, Event
from staging.states import AliasMode, AliasState
from tests.place import Place


def test_a_token_finds_its_alias_and_is_not_in_the_database(place: Place) -> None:
    alias = place.alias("d/x")
    token = aliases.token_of(alias)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)  # 192 bits
    assert aliases.resolve(token) == alias
    row = " ".join(map(str, Alias.objects.values_list().get()))
    assert token not in row
    assert token not in str(list(Event.objects.values_list()))


def test_tokens_differ_and_the_same_alias_has_the_same_one(place: Place) -> None:
    made = [place.alias("d/x") for _ in range(20)]
    assert len({aliases.token_of(alias) for alias in made}) == 20
    assert aliases.token_of(made[0]) == aliases.token_of(Alias.objects.get(pk=made[0].pk))


@pytest.mark.parametrize(
    "token", ["", "x", "A" * 32, "A" * 33, "é" * 32, "A" * 31 + "\n", "' OR 1=1 --", "%", "\0" * 32]
)
def test_any_other_token_is_unknown(place: Place, token: str) -> None:
    place.alias("d/x")
    with pytest.raises(AliasUnknown):
        aliases.resolve(token)


def test_a_token_outlives_a_new_key_of_the_ring_and_dies_with_its_own(place: Place, settings: Settings) -> None:
    alias = place.alias("d/x")
    token, ring = aliases.token_of(alias), list(settings.SECRET_KEYS)
    settings.SECRET_KEYS = [Fernet.generate_key().decode(), *ring]
    assert aliases.token_of(alias) == token
    assert aliases.token_of(place.alias("d/y")) != token
    settings.SECRET_KEYS = settings.SECRET_KEYS[:1]
    with pytest.raises(AliasUnknown, match="WAYBILL_SECRET_KEYS"):
        aliases.token_of(alias)
    assert aliases.resolve(token) == alias, "who holds the URL keeps it"


REASONS: list[tuple[dict[str, Any], type[Exception] | None, AliasState]] = [
    ({}, None, AliasState.LIVE),
    ({"max_uses": 2, "uses": 1}, None, AliasState.LIVE),
    ({"max_uses": 2, "uses": 2}, AliasUsedUp, AliasState.USED_UP),
    ({"expires_at": "past"}, AliasExpired, AliasState.EXPIRED),
    ({"revoked_at": "past"}, AliasRevoked, AliasState.REVOKED),
    ({"revoked_at": "past", "expires_at": "past", "max_uses": 1, "uses": 1}, AliasRevoked, AliasState.REVOKED),
    ({"expires_at": "past", "max_uses": 1, "uses": 1}, AliasExpired, AliasState.EXPIRED),
]


@pytest.mark.parametrize(("row", "refusal", "state"), REASONS)
def test_an_alias_is_refused_for_the_first_reason_and_listed_under_it(
    place: Place, row: dict[str, Any], refusal: type[Exception] | None, state: AliasState
) -> None:
    alias = place.alias("d/x")
    past = timezone.now() - timedelta(seconds=1)
    Alias.objects.filter(pk=alias.pk).update(
        **{name: past if value == "past" else value for name, value in row.items()}
    )
    alias.refresh_from_db()
    assert aliases.state_of(alias) == state
    assert [one for one in AliasState if Alias.objects.filter(aliases.in_state(one)).exists()] == [state]
    if refusal is None:
        assert aliases.resolve(aliases.token_of(alias)) == alias
    else:
        with pytest.raises(refusal):
            aliases.resolve(aliases.token_of(alias))


def test_a_used_up_write_alias_is_still_found(place: Place) -> None:
    alias = place.alias("d/x", AliasMode.WRITE, max_uses=1)
    Alias.objects.update(uses=1)
    assert aliases.resolve(aliases.token_of(alias)) == alias


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("key", {"key": ""}),
        ("key", {"key": "../x"}),
        ("key", {"key": "/x"}),
        ("key", {"key": "a//b"}),
        ("key", {"key": "a\nb"}),
        ("key", {"key": "a/." + "x." + "0" * 32 + ".partial"}),
        ("max_uses", {"max_uses": 0}),
        ("max_bytes", {"max_bytes": -1}),
        ("size", {"size": -1}),
        ("size", {"size": 2**63}),
        ("size", {"size": 5, "max_bytes": 4}),
        ("sha256", {"sha256": "A" * 64}),
        ("sha256", {"sha256": "a" * 63}),
        ("lifetime_s", {"lifetime_s": 0}),
        ("lifetime_s", {"lifetime_s": 10**12}),
        ("content_type", {"content_type": "text/plain\r\nX: y"}),
        ("content_type", {"content_type": "a\x01b"}),
        ("content_type", {"content_type": "x" * 256}),
    ],
    ids=str,
)
def test_what_cannot_be_an_alias_is_refused_by_its_field(place: Place, field: str, spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        place.alias(spec.pop("key", "d/x"), **spec)
    assert field in refused.value.fields
    assert not Alias.objects.exists()
    assert not Event.objects.filter(kind="alias.created").exists()


def test_no_alias_reaches_into_the_folder_of_managed_buckets(place: Place) -> None:
    with pytest.raises(InvalidRequest):
        place.alias(".waybill/1/ab/cdef", mounted=True)
    place.alias(".waybill/1/ab/cdef")


def test_extending_and_revoking(place: Place) -> None:
    alias = place.alias("d/x", lifetime_s=60)
    Alias.objects.update(expires_at=timezone.now() - timedelta(days=1))
    aliases.extend(alias, 3600)
    assert aliases.resolve(aliases.token_of(alias)).expires_at > timezone.now() + timedelta(seconds=3500)
    for lifetime_s in (0, -1, 10**12):
        with pytest.raises(InvalidRequest):
            aliases.extend(alias, lifetime_s)
    aliases.revoke(alias)
    aliases.revoke(alias)
    assert Event.objects.filter(kind="alias.revoked").count() == 1
    with pytest.raises(AliasRevoked):
        aliases.extend(alias, 3600)


def test_data_is_awaited_while_a_live_write_alias_may_bring_it(place: Place) -> None:
    place.alias("d/x", AliasMode.READ)
    assert not alias_uses.is_awaited(place.managed, "d/x")
    writer = place.alias("d/x", AliasMode.WRITE)
    assert alias_uses.is_awaited(place.managed, "d/x")
    assert not alias_uses.is_awaited(place.mounted, "d/x")
    aliases.revoke(writer)
    assert not alias_uses.is_awaited(place.managed, "d/x")
