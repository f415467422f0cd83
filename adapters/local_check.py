"""Trying, step by step, all that Waybill needs of a local folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AdapterError, AlreadyExists
from adapters.rooted import Root
from adapters.trials import store


def check(adapter: Adapter, root: Root) -> list[CheckStep]:
    """As ``Adapter.check``."""
    key = f"waybill-check-{secrets.token_hex(8)}"
    trials: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("root", "the root is a folder", lambda: os.close(root.open_folder(key))),
        ("create", "a file was written, synced and linked", lambda: store(adapter, key, b"w", WriteMode.CREATE)),
        ("refuse", "a second create was refused", lambda: _try_second_create(adapter, key)),
        ("replace", "the file was replaced", lambda: store(adapter, key, b"w", WriteMode.REPLACE)),
        ("delete", "the file was deleted", lambda: adapter.delete(key)),
        ("space", "free space is known", root.free_bytes),
    )
    steps: list[CheckStep] = []
    try:
        for step, found, attempt in trials:
            try:
                attempt()
            except AdapterError as exc:
                steps.append(CheckStep(step, False, str(exc)))
                break
            steps.append(CheckStep(step, True, found))
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            adapter.delete(key)
    return steps


def _try_second_create(adapter: Adapter, key: str) -> None:
    try:
        store(adapter, key, b"w", WriteMode.CREATE)
    except AlreadyExists:
        return
    raise AdapterError("a second create was not refused", storage=adapter.name, key=key)
