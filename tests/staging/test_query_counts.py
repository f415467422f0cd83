"""What is asked most often costs the catalog as many queries however many rows there are."""

import hashlib
import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from staging import aliases, api_keys, claims, listing, reading, replication, tiers, transfers
from staging.alias_terms import AliasSpec
from staging.models import Bucket, Object, Replica, Storage, Transfer
from staging.states import AliasMode, Role
from tests.staging.yard import Yard

FEW, MANY = 3, 40


def queries(work: Callable[[], object]) -> int:
    """How many statements it takes, those apart that begin and end transactions."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return sum(one["sql"].split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE", "WITH") for one in captured)


def grow(yard: Yard, bucket: Bucket, count: int) -> None:
    """Objects with a copy at home and a clean one on the fast storage, and a transfer of each that is due."""
    made = [
        Object(bucket=bucket, key=f"{uuid.uuid4()}/x", version=1, size=1, sha256=hashlib.sha256(b"x").hexdigest())
        for _ in range(count)
    ]
    Object.objects.bulk_create(made)
    places = [(row, storage) for row in made for storage in (yard["home"], yard["fast"])]
    Replica.objects.bulk_create(Replica(object=row, storage=at, key=f"{row.pk}", size=1) for row, at in places)
    now, project = timezone.now(), yard.project
    Transfer.objects.bulk_create(
        Transfer(project=project, kind="replicate", object=row, target=yard["far"], not_before=now) for row in made
    )


@pytest.mark.parametrize(
    ("what", "expected"),
    [("resolve", 2), ("flat", 1), ("folded", 1), ("api", 3), ("claim", 7), ("sweep", 2), ("relieve", 9), ("look", 4)],
)
def test_more_rows_take_no_more_queries(what: str, expected: int, yard: Yard) -> None:
    bucket = Bucket.objects.select_related("storage").get(pk=yard.bucket(lands_on="fast").pk)
    counts = []
    for count in (FEW, MANY):
        grow(yard, bucket, count)
        counts.append(queries(prepared(what, yard, bucket)))
    assert counts == [expected, expected]


def prepared(what: str, yard: Yard, bucket: Bucket) -> Callable[[], object]:
    if what == "resolve":
        key = Object.objects.order_by("-pk")[0].key
        token = aliases.token_of(aliases.create(bucket, [AliasSpec(AliasMode.READ, key)])[0])
        return lambda: reading.find(aliases.resolve(token))
    if what == "api":
        _, text = api_keys.issue_key(yard.project, Role.VIEWER, label="counts")
        headers, client = {"Authorization": f"Bearer {text}"}, Client()
        client.get("/api/v1/whoami", headers=headers)  # The key's use is noted now and then only.
        path = f"/api/v1/buckets/{bucket}/objects?limit=50"
        return lambda: client.get(path, headers=headers).json()["items"][0]
    if what == "relieve":
        # One copy is enough to bring it below its low mark.
        Storage.objects.filter(name="fast").update(capacity_bytes=100, used_bytes=81)
        Replica.objects.filter(storage__name="fast").update(size=11)
    works: dict[str, Callable[[], object]] = {
        "flat": lambda: listing.page(bucket, limit=50),
        "folded": lambda: listing.page(bucket, folded=True, limit=50),
        "claim": lambda: claims.take(str(claims.next_at([yard["far"].pk], limit=1)[0].pk)),
        "sweep": transfers.sweep,
        "relieve": tiers.relieve,
        "look": lambda: replication.reconcile("", limit=50),
    }
    return works[what]
