"""Which names in a bucket are keys: others may have put what they liked into it."""

from __future__ import annotations

from adapters.base import NO_KEY, Listed, ObjectStat, Prefix, Unreachable
from adapters.errors import InvalidKey
from adapters.keys import check_key, is_partial, shown


def is_legal(key: str) -> bool:
    """Whether Waybill could name it."""
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True


def listed(item: ObjectStat | Prefix) -> Listed | None:
    """What a scan tells of an entry; None of an unfinished write, and of the empty object that stands for a folder."""
    is_object, key = isinstance(item, ObjectStat), item.key
    if is_legal(key if is_object else key.removesuffix("/")):
        return item
    if isinstance(item, ObjectStat) and key.endswith("/") and not item.size:
        return None
    return None if is_object and is_partial(key.rpartition("/")[2]) else Unreachable(shown(key), NO_KEY)
