"""Rows by the million: a catalog as it is after long use, put together by PostgreSQL itself. No storage has a byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import AutoField, Model

from staging import aliases, buckets, projects
from staging.alias_terms import AliasSpec
from staging.buckets import BucketSpec
from staging.models import Bucket, Object, Project, Replica, Storage, Transfer
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
    columns = {
        "id": "md5(%(name)s || n)::uuid",
        "bucket_id": "%(bucket)s",
        "key": _KEY.format(folder=_FOLDER),
        "version": "1",
        "size": "%(size)s",
        "sha256": "encode(sha256(n::text::bytea), 'hex')",
        "created_at": "now() - n * interval '1 second'",
    }
    _insert(cursor, Object, columns, count, {"name": bucket.name, "bucket": bucket.pk, "size": SIZE})


def _replicas(cursor: CursorWrapper, bucket: str, storage: int, count: int, *, dirty: bool) -> None:
    columns = {
        "object_id": "md5(%(bucket)s || n)::uuid",
        "storage_id": "%(storage)s",
        "key": "'.waybill/' || md5(%(bucket)s || n)",
        "size": "%(size)s",
        "dirty": "%(dirty)s",
        "created_at": "now() - n * interval '1 second'",
        "verified_at": "now()",
        "read_at": "CASE WHEN n %% 3 > 0 THEN now() - (n::bigint * 7919 %% 1000003) * interval '1 second' END",
        "reads": "n %% 4",
    }
    _insert(cursor, Replica, columns, count, {"bucket": bucket, "storage": storage, "size": SIZE, "dirty": dirty})


def _transfers(cursor: CursorWrapper, yard: Yard, count: int) -> None:
    """One that is done for each object, and one that waits for each seven: to ``far``, and routine work at ``home``."""
    columns = {
        "id": "md5('transfer' || w || n)::uuid",
        "project_id": "%(project)s",
        "kind": "CASE WHEN w = 2 THEN 'verify' ELSE 'replicate' END",
        "state": "CASE WHEN w = 0 THEN 'done' ELSE 'queued' END",
        "object_id": "md5('data' || n)::uuid",
        "target_id": "CASE WHEN w = 2 THEN %(home)s ELSE %(far)s END",
        "label": "'data/' || n",
        "size": "%(size)s",
        "priority": "CASE WHEN w = 2 THEN 90 WHEN n %% 80 = 0 THEN 30 ELSE 50 END",
        "not_before": "now() + CASE WHEN n %% 8 = 3 THEN interval '1 day' ELSE n * interval '-1 second' END",
        "created_at": "now() - n * interval '1 second'",
        "finished_at": "CASE WHEN w = 0 THEN now() - n * interval '1 second' END",
    }
    each = """, generate_series(0, 2) AS w
        WHERE w = 0 OR (w = 1 AND n %% 10 < 1) OR (w = 2 AND n %% 20 = 3)"""
    ids = {"project": yard.project.pk, "home": yard.storages["home"].pk, "far": yard.storages["far"].pk}
    _insert(cursor, Transfer, columns, count, {**ids, "size": SIZE}, each)


def _insert(
    cursor: CursorWrapper,
    model: type[Model],
    columns: Mapping[str, str],
    count: int,
    values: Mapping[str, object],
    each: str = "",
) -> None:
    """A row for each n in ``[0, count)``, whose other columns have what the model gives them."""
    others = [
        field
        for field in model._meta.concrete_fields
        if not field.null and field.column not in columns and not isinstance(field, AutoField)
    ]
    given = {field.column: field.get_db_prep_save(field.get_default(), connection) for field in others}
    whole = {**columns, **{name: f"%({name})s" for name in given}}
    cursor.execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(whole)}) SELECT {', '.join(whole.values())} "
        f"FROM generate_series(0, %(last)s) AS n{each}",
        {**given, **values, "last": count - 1},
    )
