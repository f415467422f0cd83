"""Policies: what is understood, and what the storages that exist cannot give."""

from typing import Any

import pytest

from staging import policies
from staging.errors import InvalidRequest
from staging.models import Bucket, Object, Storage
from staging.policies import Policy
from staging.states import StorageState

HOME = Storage(pk=1, name="home", scheme="local", tier=2, site="here")
FAST = Storage(pk=2, name="fast", scheme="local", tier=1)
FAR = Storage(pk=3, name="far", scheme="local", tier=2, site="there")
NEAR = Storage(pk=4, name="near", scheme="local", tier=2, site="here")
WEB = Storage(pk=6, name="web", scheme="http", tier=2)
SHUT = Storage(pk=5, name="shut", scheme="local", tier=0, state=StorageState.CORDONED)


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        ({"write": "sideways"}, "write"),
        ({"write": 3}, "write"),
        ({"lands_on": ["fast"]}, "lands_on"),
        ({"replicate_to": "far"}, "replicate_to"),
        ({"replicate_to": ["far", "far"]}, "replicate_to"),
        ({"min_replicas": 0}, "min_replicas"),
        ({"min_replicas": True}, "min_replicas"),
        ({"ttl_s": -1}, "ttl_s"),
        ({"pin": "yes"}, "pin"),
        ({"dirty_budget_bytes": -1}, "dirty_budget_bytes"),
        ({"max_object_bytes": 2**63}, "max_object_bytes"),
        ({"tier": 1}, "tier"),
    ],
)
def test_a_setting_that_is_not_understood_is_named(raw: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Policy.parse(raw)
    assert list(refused.value.fields) == [wrong]


@pytest.mark.parametrize(
    ("raw", "wrong", "why"),
    [
        ({"write": "back"}, "lands_on", "tier 0 or 1"),
        ({"cache": "read"}, "lands_on", "tier 0 or 1"),
        ({"pin": True}, "lands_on", "tier 0 or 1"),
        ({"lands_on": "nowhere"}, "lands_on", "no storage nowhere"),
        ({"lands_on": "home"}, "lands_on", "own storage"),
        ({"lands_on": "far"}, "lands_on", "of tier 2"),
        ({"lands_on": "shut"}, "lands_on", "cordoned"),
        ({"replicate_to": ["nowhere"]}, "replicate_to", "nowhere"),
        ({"replicate_to": ["home"]}, "replicate_to", "other storages"),
        ({"replicate_to": ["web"]}, "replicate_to", "only be read"),
        ({"min_replicas": 2}, "min_replicas", "only 1 places"),
        ({"replicate_to": ["far"], "min_replicas": 2, "max_replicas": 1}, "max_replicas", "less than"),
        (
            {"write": "ephemeral", "lands_on": "fast", "replicate_to": ["far"], "min_replicas": 2},
            "min_replicas",
            "ephemeral",
        ),
        ({"replicate_to": ["near"], "min_replicas": 2, "spread": "sites"}, "spread", "2 sites"),
    ],
)
def test_a_policy_that_cannot_be_met_is_refused_with_the_reason(raw: dict[str, Any], wrong: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        policies.check(Bucket(storage=HOME), raw, [HOME, FAST, FAR, NEAR, SHUT, WEB])
    assert list(refused.value.fields) == [wrong]
    assert why in refused.value.fields[wrong]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"write": "back", "lands_on": "fast", "flush_within_s": 10, "dirty_budget_bytes": 5},
        {"write": "ephemeral", "lands_on": "fast", "ttl_s": 60, "spill": False},
        {"replicate_to": ["far"], "min_replicas": 2, "spread": "sites", "verify": "read"},
        {"lands_on": "fast", "cache": "promote", "pin": True, "max_object_bytes": 5},
    ],
)
def test_a_policy_that_can_be_met_is_taken(raw: dict[str, Any]) -> None:
    assert policies.check(Bucket(storage=HOME), raw, [HOME, FAST, FAR]) == Policy.parse(raw)


def test_a_mounted_bucket_has_no_policy_but_its_limit() -> None:
    mounted = Bucket(storage=HOME, mounted=True)
    policies.check(mounted, {"max_object_bytes": 5}, [])
    with pytest.raises(InvalidRequest):
        policies.check(mounted, {"replicate_to": ["far"]}, [FAR])


def test_an_object_has_its_buckets_policy_with_what_is_its_own() -> None:
    bucket = Bucket(storage=HOME, policy={"min_replicas": 1, "ttl_s": 60})
    assert policies.of(Object(bucket=bucket, policy={"ttl_s": 0})) == Policy()
