"""How full a storage is, as a bar."""

from typing import Any

from gateway.admin import words
from staging.models import Storage


def bar(storage: Storage) -> dict[str, Any]:
    """What ``admin/staging/storage/bar.html`` draws: sizes in words, and parts in percent of the capacity."""
    capacity = storage.capacity_bytes
    parts = {"used": storage.used_bytes, "reserved": storage.reserved_bytes}
    drawn: dict[str, Any] = {name: words.size(count) if count else "" for name, count in parts.items()}
    for name, count in parts.items():
        # CSS wants a point, whatever the language of the page.
        drawn[f"{name}_percent"] = f"{100 * count / capacity:.1f}" if capacity else "0"
    full = capacity is not None and sum(parts.values()) > 0.8 * capacity
    return {**drawn, "capacity": words.size(capacity) if capacity is not None else "", "full": full}
