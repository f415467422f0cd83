"""What every kind of storage is compared to: the rivals that a module such as ``local.py`` brings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from staging.storages import StorageSpec
from tests.bench.contest import Contender


class Rivalry(AbstractContextManager["Rivalry"], ABC):
    """A storage, and the ways to move bytes to and from it without Waybill. Entering starts its server.

    ``folder`` is removed by the caller. ``large`` is the file that is uploaded, ``small`` the content of each of the
    many small ones. The rivals that upload small files leave them, for the rivals that download them afterwards.
    """

    name: str

    def __init__(self, folder: Path, large: Path, small: bytes) -> None:
        self.folder, self.large, self.small = folder, large, small
        self.size = large.stat().st_size
        folder.mkdir()

    @abstractmethod
    def spec(self) -> StorageSpec:
        """The storage as Waybill gets to know it."""

    @abstractmethod
    def put_large(self) -> list[Contender]:
        """Upload ``large``."""

    @abstractmethod
    def get_large(self, key: str) -> list[Contender]:
        """Download the file of that size which Waybill has stored under ``key``."""

    @abstractmethod
    def put_small(self, batches: Sequence[Sequence[str]]) -> list[Contender]:
        """In each round, upload ``small`` under all names of that round's batch."""

    @abstractmethod
    def get_small(self, batches: Sequence[Sequence[str]], *, seconds: int) -> list[Contender]:
        """Download what ``put_small`` left: all of it for some seconds, or a batch in each round."""
