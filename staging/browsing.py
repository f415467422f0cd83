"""Browsing: what lies on a storage right now, a folder and a page at a time, whoever put it there."""

from dataclasses import dataclass
from itertools import islice

from adapters.base import ObjectStat, Prefix
from adapters.errors import InvalidKey
from adapters.keys import check_prefix
from staging.connections import release
from staging.errors import InvalidRequest
from staging.models import Storage
from staging.storages import adapter_for

#: The most entries of one page.
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a folder, ordered by key. ``next_after`` goes on behind it; empty at the end."""

    entries: list[ObjectStat | Prefix]
    next_after: str


def browse(storage: Storage, prefix: str = "", *, after: str = "", limit: int = 100) -> Listing:
    """What starts with ``prefix`` and comes behind ``after``; folders are not entered.

    Raises InvalidRequest for a prefix that is none, and what the storage raises.
    """
    try:
        check_prefix(prefix, storage=storage.name)
    except InvalidKey as exc:
        raise InvalidRequest("The prefix is not valid.", fields={"prefix": exc.detail}) from exc
    adapter = adapter_for(storage)
    release()
    size = max(1, min(limit, MAX_PAGE))
    found = list(islice(adapter.scan(prefix, after=after, recursive=False), size + 1))
    return Listing(found[:size], found[size - 1].key if len(found) > size else "")
