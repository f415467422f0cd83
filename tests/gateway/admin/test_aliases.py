"""Aliases in the admin: made, copied, extended, revoked."""

import shlex
import subprocess
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from gateway import links
from staging import aliases
from staging.alias_terms import AliasSpec
from staging.models import Alias
from staging.states import AliasMode, AliasState
from tests.gateway.admin.conftest import People, code_in, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def form(lab: Lab, **changed: Any) -> dict[str, Any]:
    return {"bucket": lab.data.pk, "key": "results/table.csv", "mode": "read", "lifetime_s": "86400", **changed}


def make(lab: Lab, key: str = "results/table.csv", mode: AliasMode = AliasMode.READ, **spec: Any) -> Alias:
    return aliases.create(lab.data, [AliasSpec(mode, key, **spec)])[0]


def test_an_alias_made_in_the_admin_delivers_the_object(transactional_db: None, lab: Lab, people: People) -> None:
    lab.upload("results/table.csv", b"1,2,3")
    shown = people.operator.saves(page("alias", "add"), **form(lab, labels="run=7\nworkflow=align"))
    answer = Client().get(urlsplit(code_in(shown, "alias-url")).path)
    assert b"".join(answer) == b"1,2,3"
    made = Alias.objects.get(labels={"run": "7", "workflow": "align"})
    assert timedelta(hours=23) < made.expires_at - timezone.now() <= timedelta(days=1)
    assert LogEntry.objects.filter(object_id=str(made.pk), user=people.operator.user).exists()


def test_a_write_alias_carries_its_conditions(lab: Lab, people: People) -> None:
    conditions = {"max_uses": "1", "max_bytes": "10 MB", "size": "1 kB", "sha256": "AB" * 32, "on_exists": "replace"}
    people.operator.saves(page("alias", "add"), **form(lab, mode="write", **conditions))
    made = Alias.objects.get()
    assert (made.max_uses, made.max_bytes, made.size, made.sha256) == (1, 10_000_000, 1000, "ab" * 32)
    assert made.on_exists == "replace"


def test_an_alias_of_a_folder_carries_its_lease(lab: Lab, people: People) -> None:
    lease = {
        "starts_on_use": "on",
        "idle_s": "3600",
        "max_rate": "5 MB",
        "max_requests": "4",
        "networks": "192.0.2.0/24, 2001:db8::/32",
        "max_total_bytes": "1 TB",
    }
    shown = people.operator.saves(page("alias", "add"), **form(lab, key="results", mode="write-prefix", **lease))
    assert code_in(shown, "alias-url").endswith("/results/")
    made = Alias.objects.get()
    assert (made.key, made.mode, made.lifetime_s, made.idle_s) == ("results/", "write-prefix", 86400, 3600)
    assert (made.max_rate, made.max_requests, made.max_total_bytes) == (5_000_000, 4, 10**12)
    assert made.networks == ["192.0.2.0/24", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("networks", "everywhere"),
        ("max_rate", "1 B"),
        ("max_requests", "0"),
        ("max_total_bytes", "5 B"),
        ("key", "../etc/passwd"),
        ("key", ""),
        ("max_uses", "0"),
        ("max_bytes", "-1"),
        ("sha256", "abc"),
        ("labels", "no value"),
        ("labels", "0=begins with a digit"),
        ("lifetime_s", "999999999"),
        ("bucket", "999999"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(lab: Lab, people: People, field: str, value: str) -> None:
    found = errors_in(people.operator.send(page("alias", "add"), **form(lab, **{field: value})))
    assert list(found) == [field]
    assert not Alias.objects.exists()


def test_no_alias_is_made_in_somebody_elses_bucket(lab: Lab, other: Lab, people: People) -> None:
    found = errors_in(people.operator.send(page("alias", "add"), **form(other)))
    assert list(found) == ["bucket"]


def test_revoking_ends_an_alias_and_its_buttons(lab: Lab, people: People) -> None:
    alias = make(lab)
    shown = people.operator.confirms(page("alias", "revoke", alias.pk))
    alias.refresh_from_db()
    assert aliases.state_of(alias) == AliasState.REVOKED
    assert "This alias does not work any more" in shown
    assert page("alias", "extend", alias.pk) not in shown
    assert LogEntry.objects.filter(object_id=str(alias.pk), change_message__contains="revoked").exists()


def test_extending_an_expired_alias_makes_it_live_again(lab: Lab, people: People) -> None:
    alias = make(lab)
    Alias.objects.filter(pk=alias.pk).update(expires_at=timezone.now() - timedelta(days=1))
    people.operator.confirms(page("alias", "extend", alias.pk), lifetime_s="3600")
    alias.refresh_from_db()
    assert aliases.state_of(alias) == AliasState.LIVE
    assert alias.expires_at - timezone.now() <= timedelta(hours=1)


def test_a_revoked_alias_is_not_extended(lab: Lab, people: People) -> None:
    alias = make(lab)
    aliases.revoke(alias)
    shown = people.operator.confirms(page("alias", "extend", alias.pk), lifetime_s="3600")
    assert "A revoked alias cannot be extended" in shown


def test_a_revoked_alias_is_not_revoked_again_and_its_row_offers_nothing(lab: Lab, people: People) -> None:
    alias = make(lab)
    assert "wb-ended" not in people.operator.get(page("alias", "changelist"))
    assert "The alias was revoked." in people.operator.confirms(page("alias", "revoke", alias.pk))
    assert "had been revoked already" in people.operator.confirms(page("alias", "revoke", alias.pk))
    assert "wb-ended" in people.operator.get(page("alias", "changelist"))


def test_an_empty_list_and_a_search_without_a_hit_say_which_they_are(lab: Lab, people: People) -> None:
    empty = people.operator.get(page("alias", "changelist"))
    assert "No aliases" in empty
    assert "New alias" in empty
    assert "New alias" not in people.viewer.get(page("alias", "changelist"))
    assert "Nothing found" in people.operator.get(page("alias", "changelist") + "?q=none")


def test_the_way_to_a_page_spells_names_as_they_are(lab: Lab, people: People) -> None:
    alias = make(lab, "a/small/letter")
    shown = people.operator.get(page("alias", "change", alias.pk))
    assert f">{alias}</a>" in shown
    assert ">Staging</a>" not in shown
    assert ">New</span>" in people.operator.get(page("alias", "add"))


def test_several_are_revoked_or_extended_from_the_list(lab: Lab, people: People) -> None:
    some = [make(lab, f"k{number}") for number in range(3)]
    aliases.revoke(some[2])
    address, chosen = page("alias", "changelist"), [str(alias.pk) for alias in some]
    people.operator.client.post(address, {"action": "extend_chosen", "_selected_action": chosen})
    assert "2 extended" in people.operator.get(address)
    people.operator.chooses("alias", "revoke_chosen", *some)
    assert not Alias.objects.filter(revoked_at=None).exists()


def test_producers_are_marked_as_failed_from_the_list(lab: Lab, people: People) -> None:
    read, write = make(lab), make(lab, mode=AliasMode.WRITE)
    address, chosen = page("alias", "changelist"), [str(read.pk), str(write.pk)]
    people.viewer.client.post(address, {"action": "fail_chosen", "_selected_action": chosen})
    assert not Alias.objects.filter(failed_at__isnull=False).exists()
    assert "1 marked" in people.operator.chooses("alias", "fail_chosen", read, write)
    assert [alias.pk for alias in Alias.objects.filter(failed_at__isnull=False)] == [write.pk]
    assert "told by an operator" in people.viewer.get(page("alias", "change", write.pk))


@pytest.mark.parametrize("state", list(AliasState))
def test_the_list_is_filtered_by_derived_state(lab: Lab, people: People, state: AliasState) -> None:
    for name in AliasState:
        make(lab, f"is-{name.value.replace(' ', '-')}", max_uses=1)
    Alias.objects.filter(key="is-expired").update(expires_at=timezone.now() - timedelta(days=1))
    Alias.objects.filter(key="is-revoked").update(revoked_at=timezone.now())
    Alias.objects.filter(key="is-used-up").update(uses=1)
    listed = people.viewer.get(f"{page('alias', 'changelist')}?state={state.value}")
    assert [name for name in AliasState if f"data/is-{name.value.replace(' ', '-')}" in listed] == [state]


def test_the_token_is_in_no_list_event_or_history(lab: Lab, people: People) -> None:
    alias = make(lab)
    token = aliases.token_of(alias)
    for address in (
        "/admin/",
        page("alias", "changelist"),
        page("event", "changelist"),
        page("alias", "history", alias.pk),
    ):
        assert token not in people.root.get(address)


def test_an_alias_whose_ring_key_is_gone_says_so(lab: Lab, people: People) -> None:
    alias = make(lab)
    Alias.objects.filter(pk=alias.pk).update(token_key_id="gone")
    assert "WAYBILL_SECRET_KEYS" in people.operator.get(page("alias", "change", alias.pk))


@pytest.mark.parametrize(
    "name", ["plain.csv", "with space.csv", "it's.csv", "-o", "$(id).csv", "a;b", "{1,2}[3].csv", "ü.csv"]
)
@pytest.mark.parametrize("mode", [AliasMode.READ, AliasMode.WRITE])
def test_the_curl_line_survives_any_file_name(lab: Lab, name: str, mode: AliasMode) -> None:
    alias = make(lab, f"folder/{name}", mode)
    line = links.curl_line(alias)
    words = shlex.split(line)
    assert words[-1] == links.alias_url(alias)
    assert words[-3] == {"read": "-o", "write": "-T"}[mode]
    assert words[-2] == (f"./{name}" if name.startswith("-") else name)
    script = f"curl() {{ printf '%s\\n' \"$#\"; }}; {line}"
    assert (
        subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == f"{len(words) - 1}\n"
    )
