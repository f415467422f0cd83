"""Times to live: objects end with them, as the policy has it that holds now."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import F

from staging import buckets, objects, upkeep
from staging.models import Object
from tests.staging.yard import DATA, Yard


def age(target: Object) -> None:
    """Let its time to live be over."""
    hour = timedelta(hours=1)
    Object.objects.filter(pk=target.pk).update(created_at=F("created_at") - hour, expires_at=F("expires_at") - hour)


def test_a_time_to_live_that_is_changed_holds_for_what_stands(yard: Yard) -> None:
    bucket = yard.bucket(ttl_s=60)
    old, own = yard.put(bucket, "old", DATA), yard.put(bucket, "own", DATA)
    objects.set_policy(bucket, "own", {"ttl_s": 70})
    age(old)
    buckets.set_policy(bucket, {})
    assert upkeep.expire() == 0, "it is for ever now"
    assert [one.expires_at is None for one in Object.objects.order_by("key")] == [True, False]
    buckets.set_policy(bucket, {"ttl_s": 3660})
    upkeep.reconcile()
    old.refresh_from_db()
    assert old.expires_at == old.created_at + timedelta(seconds=3660)
    own.refresh_from_db()
    assert own.expires_at == own.created_at + timedelta(seconds=70)
    buckets.set_policy(bucket, {"ttl_s": 3500})
    upkeep.reconcile()
    assert upkeep.expire() == 1
    assert (yard.current(bucket, "old"), yard.current(bucket, "own")) == (None, own)


def test_an_object_ends_with_its_time_to_live(yard: Yard) -> None:
    bucket = yard.bucket(ttl_s=60)
    made = yard.put(bucket, "x", DATA)
    assert upkeep.expire() == 0
    age(made)
    assert upkeep.expire() == 1
    assert yard.current(bucket, "x") is None
    yard.work()
    yard.assert_all_is_counted()


def test_an_object_whose_life_is_prolonged_as_it_ends_stays(yard: Yard) -> None:
    made = yard.put(yard.bucket(ttl_s=60), "x", DATA)
    age(made)
    asked = 0

    def prolong(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal asked
        answer = execute(sql, params, many, context)
        asked += 1
        if asked == 1:
            Object.objects.filter(pk=made.pk).update(expires_at=None)
        return answer

    with connection.execute_wrapper(prolong):
        upkeep.expire()
    assert yard.current(made.bucket, "x")
