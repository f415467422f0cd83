"""Trying, step by step, all that Waybill needs of a local folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AdapterError, AlreadyExists
from adapters.rooted import Root
from adapters.trials import run, store

#: The steps in their order, each with what to do where it fails.
_REMEDIES = {
    "root": "make the folder, or mount it, on every machine that runs a gateway or a worker",
    "create": "let Waybill's user write there; the file system must have hard links, and space",
    "refuse": "use a file system whose links never replace a file",
    "replace": "let Waybill's user rename files there",
    "delete": "let Waybill's user remove files there",
    "space": "use a file system that tells its free space",
}


def check(adapter: Adapter, root: Root) -> list[CheckStep]:
    """As ``Adapter.check``."""
    key = f"waybill-check-{secrets.token_hex(8)}"

    def attempt(passed: Callable[[str], None]) -> None:
        os.close(root.open_folder(key))
        passed(_root_words(root))
        store(adapter, key, b"w", WriteMode.CREATE)
        passed("a file was written, synced and linked")
        _try_second_create(adapter, key)
        passed("a second create was refused")
        store(adapter, key, b"w", WriteMode.REPLACE)
        passed("the file was replaced")
        adapter.delete(key)
        passed("the file was deleted")
        passed(f"{root.free_bytes()} bytes are free")

    try:
        return run(_REMEDIES, attempt)
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            adapter.delete(key)


def _root_words(root: Root) -> str:
    if not root.is_mount_point:
        return "the root is a folder"
    return (
        "the root is a folder on which a file system is mounted: while none is, new files would go to the disk below;"
        " a root one folder further in would be missed then"
    )


def _try_second_create(adapter: Adapter, key: str) -> None:
    try:
        store(adapter, key, b"w", WriteMode.CREATE)
    except AlreadyExists:
        return
    raise AdapterError("a second create was not refused", storage=adapter.name, key=key)
