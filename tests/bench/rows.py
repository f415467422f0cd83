"""Rows by the million: a catalog as it is after long use, put together by PostgreSQL itself. No storage has a byte."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from django.db.backends.utils import CursorWrapper

from staging import aliases, buckets, projects
from staging.alias_terms import AliasSpec
from staging.buckets import BucketSpec
from staging.models import Bucket, Project, Storage
from staging.states import AliasMode

SIZE = 4096
ALIASES = 10_000
#: Objects of one folder.
_FOLDER = 1000
_KEY = "'run-' || lpad((n / {folder})::text, 6, '0') || '/out-' || lpad(mod(n, {folder})::text, 6, '0') || '.dat'"


@dataclass(frozen=True, slots=True)
class Yard:
    """``data`` has two copies of each object, on ``home`` and, clean, on ``fast``; ``hot`` has one for each ten of
    those, dirty and alone on ``burst``. Transfers to ``far`` wait, an eighth of them for a later time.
    """

    project: Project
    data: Bucket
    hot: Bucket
    storages: dict[str, Storage]


def prepare() -> Yard:
    """The project with its storages and buckets, and no objects yet."""
    project = projects.first_project()
    storages = {
        name: Storage.objects.create(project=project, name=name, scheme="memory", tier=tier, options={"name": name})
        for name, tier in (("home", 2), ("far", 2), ("fast", 1), ("burst", 1))
    }
    home = storages["home"]
    data = buckets.create(project, BucketSpec("data", home, policy={"lands_on": "fast"}))
    hot = buckets.create(project, BucketSpec("hot", home, policy={"write": "ephemeral", "lands_on": "burst"}))
    return Yard(project, data, hot, storages)


def key_of(number: int) -> str:
    """The key of the object of this number in ``data``."""
    return f"run-{number // _FOLDER:06d}/out-{number % _FOLDER:06d}.dat"


def alias_tokens(yard: Yard, objects: int) -> list[str]:
    """The tokens of ``ALIASES`` read aliases of objects all over the bucket."""
    step = max(1, objects // ALIASES)
    specs = [AliasSpec(AliasMode.READ, key_of(number * step % objects)) for number in range(ALIASES)]
    made = [one for at in range(0, ALIASES, 1000) for one in aliases.create(yard.data, specs[at : at + 1000])]
    return [aliases.token_of(alias) for alias in made]


def load(yard: Yard, objects: int) -> None:
    """So many objects with their copies and transfers, in an empty database; then the planner knows of them."""
    ids = {name: storage.pk for name, storage in yard.storages.items()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexdef NOT LIKE %s",
            [["staging_object", "staging_replica", "staging_transfer"], "CREATE UNIQUE%"],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:  # To make them anew takes less time than to keep them up to date.
            cursor.execute(f'DROP INDEX "{name}"')
        _objects(cursor, yard.data, objects)
        _objects(cursor, yard.hot, objects // 10)
        _replicas(cursor, "data", ids["home"], objects, dirty=False)
        _replicas(cursor, "data", ids["fast"], objects, dirty=False)
        _replicas(cursor, "hot", ids["burst"], objects // 10, dirty=True)
        _transfers(cursor, yard, objects)
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("VACUUM ANALYZE")


def _objects(cursor: CursorWrapper, bucket: Bucket, count: int) -> None:
    key = _KEY.format(folder=_FOLDER)
    cursor.execute(
        f"""
        INSERT INTO staging_object (id, bucket_id, key, version, current, state, size, sha256, content_type, metadata,
                                    policy, created_at, expires_at, retired_at)
        SELECT md5(%s || n)::uuid, %s, {key}, 1, true, 'available', %s, encode(sha256(n::text::bytea), 'hex'),
               'application/octet-stream', '{{}}', '{{}}', now() - n * interval '1 second', NULL, NULL
        FROM generate_series(0, %s) AS n""",
        [bucket.name, bucket.pk, SIZE, count - 1],
    )


def _replicas(cursor: CursorWrapper, bucket: str, storage: int, count: int, *, dirty: bool) -> None:
    cursor.execute(
        """
        INSERT INTO staging_replica (object_id, storage_id, key, size, state, dirty, storage_version, created_at,
                                     verified_at, read_at, reads)
        SELECT md5(%s || n)::uuid, %s, '.waybill/' || md5(%s || n), %s, 'available', %s, '1',
               now() - n * interval '1 second', now(),
               CASE WHEN n %% 3 > 0 THEN now() - (n::bigint * 7919 %% 1000003) * interval '1 second' END, n %% 4
        FROM generate_series(0, %s) AS n""",
        [bucket, storage, bucket, SIZE, dirty, count - 1],
    )


def _transfers(cursor: CursorWrapper, yard: Yard, count: int) -> None:
    """One that is done for each object, and one that waits for each ten: to ``far``, and routine work at ``home``."""
    cursor.execute(
        """
        INSERT INTO staging_transfer (id, project_id, kind, state, object_id, source_id, target_id, label, size,
                                      bytes_done, start_offset, token, priority, reason, attempts, max_attempts,
                                      not_before, fence, error_code, error_detail, created_at, finished_at)
        SELECT md5('transfer' || w || n)::uuid, %(project)s, CASE WHEN w = 2 THEN 'verify' ELSE 'replicate' END,
               CASE WHEN w = 0 THEN 'done' ELSE 'queued' END, md5('data' || n)::uuid, NULL,
               CASE WHEN w = 2 THEN %(home)s ELSE %(far)s END, 'data/' || n, %(size)s, 0, 0, '',
               CASE WHEN w = 2 THEN 90 WHEN n %% 80 = 0 THEN 30 ELSE 50 END, '', 0, 12,
               now() + CASE WHEN n %% 8 = 3 THEN interval '1 day' ELSE n * interval '-1 second' END, 0, '', '',
               now() - n * interval '1 second', CASE WHEN w = 0 THEN now() - n * interval '1 second' END
        FROM generate_series(0, %(last)s) AS n, generate_series(0, 2) AS w
        WHERE w = 0 OR (w = 1 AND n %% 10 < 1) OR (w = 2 AND n %% 20 = 3)""",
        {
            "project": yard.project.pk,
            "home": yard.storages["home"].pk,
            "far": yard.storages["far"].pk,
            "size": SIZE,
            "last": count - 1,
        },
    )
