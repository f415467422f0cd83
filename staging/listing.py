"""Listing: what a bucket holds, a page at a time, ordered by the keys' UTF-8 bytes and folded at slashes on demand."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Never

import structlog
from django.db import connection

from adapters.base import Listed, Prefix, Unreachable
from adapters.errors import InvalidKey
from adapters.keys import check_prefix
from staging.connections import release
from staging.errors import FolderIncomplete, InvalidRequest
from staging.models import Bucket, Object
from staging.models.fields import behind
from staging.placement import MANAGED_FOLDER
from staging.states import ObjectState
from staging.storages import adapter_for

#: The most entries of one page.
MAX_PAGE = 1000
#: So many names that nothing can be read from are told of a page.
_MOST_TOLD = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing. Of a mounted file only ``key``, ``size`` and ``modified`` are known."""

    key: str
    size: int
    modified: datetime | None
    state: ObjectState = ObjectState.AVAILABLE
    version: int | None = None
    sha256: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Objects and folded prefixes, each in order. ``after`` is where the next page begins; empty at the end.

    ``unreachable`` shows the first names among them that nothing can be read from, each with why.
    """

    objects: list[Entry]
    prefixes: list[str]
    after: str
    unreachable: dict[str, str] = field(default_factory=dict)


def page(bucket: Bucket, prefix: str = "", *, folded: bool = False, after: str = "", limit: int = 100) -> Page:
    """At most ``limit`` entries of the bucket that start with ``prefix`` and come behind ``after``.

    ``folded``: keys with a slash behind the prefix count as one prefix, which ends in that slash. The work depends on
    the page's size, not on the bucket's. Raises InvalidRequest for a prefix that is none, and what a mounted bucket's
    storage raises.
    """
    try:
        check_prefix(prefix)
        check_prefix(f"{bucket.prefix}{prefix}")
    except InvalidKey as exc:
        raise InvalidRequest("The prefix is not valid.", fields={"prefix": exc.detail}) from exc
    size = max(1, min(limit, MAX_PAGE))
    unreachable: dict[str, str] = {}
    if bucket.mounted:
        found = _mounted(bucket, prefix, after, size + 1, unreachable, folded=folded)
    else:
        found = (_folded if folded else _flat)(bucket, prefix, after, size + 1)
    shown = found[:size]
    return Page(
        objects=[entry for entry in shown if isinstance(entry, Entry)],
        prefixes=[entry for entry in shown if isinstance(entry, str)],
        after=_name(shown[-1]) if len(found) > size else "",
        unreachable=unreachable,
    )


def whole_page(bucket: Bucket, prefix: str = "", *, folded: bool = False, after: str = "", limit: int = 100) -> Page:
    """The same for whoever means to get all that is there. Raises FolderIncomplete where that cannot be."""
    found = page(bucket, prefix, folded=folded, after=after, limit=limit)
    for name, why in found.unreachable.items():
        refuse_incomplete(bucket, name, why)
    return found


def refuse_incomplete(bucket: Bucket, name: str, why: str) -> Never:
    """Raises FolderIncomplete, which shows the name to whoever has to do something about it."""
    storage = bucket.storage.name
    log.warning("storage.folder_incomplete", storage=storage, name=name, why=why)
    raise FolderIncomplete(f"Of what is in {name!r} on the storage {storage} nothing can be staged: {why}.")


def _name(entry: Entry | str) -> str:
    return entry if isinstance(entry, str) else entry.key


def _flat(bucket: Bucket, prefix: str, after: str, count: int) -> list[Entry | str]:
    rows = Object.objects.filter(bucket=bucket, current=True, key__gt=after, key__gte=prefix, key__lt=behind(prefix))
    return [_entry(row) for row in rows.order_by("key")[:count]]


def _folded(bucket: Bucket, prefix: str, after: str, count: int) -> list[Entry | str]:
    names = [_fold(key, prefix) for key in _first_keys(bucket, prefix, after, count)]
    keys = [name for name in names if not name.endswith("/")]
    rows = {row.key: row for row in Object.objects.filter(bucket=bucket, current=True, key__in=keys)}
    # A key whose object went away between the two queries is left out.
    return [_entry(rows[name]) if name in rows else name for name in names if name in rows or name.endswith("/")]


def _fold(key: str, prefix: str) -> str:
    head, slash, _ = key[len(prefix) :].partition("/")
    return f"{prefix}{head}{slash}"


def _first_keys(bucket: Bucket, prefix: str, after: str, count: int) -> list[str]:
    """The first key of each entry: one index probe an entry, however many keys a folder holds.

    Behind a folder comes ``0``, the character after the slash; behind a key the space, since none smaller is legal.
    """
    position = {"postgresql": "strpos", "sqlite": "instr"}[connection.vendor]
    rest = f"{position}(substr(page.key, %(behind)s), '/')"
    within = "bucket_id = %(bucket)s AND current AND key < %(end)s"
    table = connection.ops.quote_name(Object._meta.db_table)
    # Nothing but the names above is put into the text; every value is a parameter.
    query = f"""
        WITH RECURSIVE page(key, place) AS (
            SELECT MIN(key), 1 FROM {table} WHERE {within} AND key >= %(start)s
            UNION ALL
            SELECT (SELECT MIN(key) FROM {table} WHERE {within} AND key >= CASE
                WHEN {rest} > 0 THEN substr(page.key, 1, %(behind)s + {rest} - 2) || '0'
                ELSE page.key || ' ' END), place + 1
            FROM page WHERE page.key IS NOT NULL AND place < %(count)s
        )
        SELECT key FROM page WHERE key IS NOT NULL ORDER BY place"""  # noqa: S608
    values: dict[str, int | str] = {
        "bucket": bucket.pk,
        "start": max(prefix, _behind(after)),
        "end": behind(prefix),
        "behind": len(prefix) + 1,
        "count": count,
    }
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return [key for (key,) in cursor.fetchall()]


def _behind(after: str) -> str:
    """The least key that may come behind an entry."""
    return f"{after[:-1]}0" if after.endswith("/") else after and f"{after} "


def _entry(row: Object) -> Entry:
    return Entry(
        key=row.key,
        size=row.size,
        modified=row.created_at,
        state=ObjectState(row.state),
        version=row.version,
        sha256=row.sha256,
        content_type=row.content_type,
    )


def _mounted(
    bucket: Bucket, prefix: str, after: str, count: int, unreachable: dict[str, str], *, folded: bool
) -> list[Entry | str]:
    """Straight from the storage. The first names from which nothing can be read are added to ``unreachable``."""
    root = bucket.prefix
    entries: list[Entry | str] = []
    with closing(_visible(bucket, f"{root}{prefix}", after and f"{root}{after}", recursive=not folded)) as found:
        for seen in found:
            key = seen.key.removeprefix(root)
            if isinstance(seen, Unreachable):
                if len(unreachable) < _MOST_TOLD:
                    unreachable[key] = seen.why
                continue
            entries.append(key if isinstance(seen, Prefix) else Entry(key, seen.size, seen.modified))
            if len(entries) == count:
                break
    return entries


def _visible(bucket: Bucket, prefix: str, after: str, *, recursive: bool) -> Generator[Listed, None, None]:
    """A scan that leaves out the folder in which Waybill keeps the bytes of managed buckets."""
    adapter = adapter_for(bucket.storage)
    release()
    own = f"{MANAGED_FOLDER}/"
    if prefix.startswith(own):
        return
    for seen in adapter.scan(prefix, after=after, recursive=recursive):
        if seen.key.startswith(own):
            break
        yield seen
    else:
        return
    yield from adapter.scan(prefix, after=max(after, f"{own}\U0010ffff"), recursive=recursive)
