"""How full a storage is, as a bar; a fast one has marks, above which it makes room or takes nothing new."""

from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet, Sum

from gateway.admin import words
from staging.models import Storage
from staging.policies import SLOWEST_FAST_TIER
from staging.states import BlockState, ReplicaState


def bar(storage: Storage) -> dict[str, Any]:
    """What ``admin/staging/storage/bar.html`` draws: sizes in words, and parts in percent of the capacity."""
    capacity = storage.capacity_bytes
    parts = {"used": storage.used_bytes, "reserved": storage.reserved_bytes}
    drawn: dict[str, Any] = {name: words.size(count) if count else "" for name, count in parts.items()}
    for name, count in parts.items():
        # CSS wants a point, whatever the language of the page.
        drawn[f"{name}_percent"] = f"{100 * count / capacity:.1f}" if capacity else "0"
    fill = 100 * sum(parts.values()) / capacity if capacity else 0
    marks = [mark for mark in _marks() if capacity and storage.tier <= SLOWEST_FAST_TIER]
    return {
        **drawn,
        "capacity": words.size(capacity) if capacity is not None else "",
        "fill": f"{fill:.0f}",
        "level": "alarm" if fill > settings.HARD_WATER else "warn" if fill > settings.HIGH_WATER else "",
        "marks": marks,
        "passed": next((mark for mark in reversed(marks) if fill > mark["percent"]), None),
    }


def passing(storage: Storage) -> dict[str, str]:
    """What is there that is not to stay: bytes that wait to be flushed, and blocks that are cached for readers."""
    waiting = storage.replicas.filter(dirty=True, state=ReplicaState.AVAILABLE)
    cached = storage.cached_blocks.filter(state=BlockState.READY)
    return {"dirty": _counted(waiting, "copy", "copies"), "cached": _counted(cached, "block", "blocks")}


def _counted(rows: QuerySet[Any], one: str, more: str) -> str:
    found = rows.order_by().aggregate(count=Count("pk"), bytes=Sum("size", default=0))
    count = found["count"]
    return f"{count:,} {one if count == 1 else more}, {words.size(found['bytes'])}" if count else ""


def _marks() -> list[dict[str, Any]]:
    return [
        {"percent": settings.HIGH_WATER, "words": "it flushes and evicts to make room"},
        {"percent": settings.HARD_WATER, "words": "it takes nothing new"},
    ]
