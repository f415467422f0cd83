"""The table of docs/adapters.md: what each storage guarantees, as the kit found it on a real server.

    WAYBILL_WRITE_DOCS=1 python -m pytest -p no:xdist tests/adapters -k documented

writes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from adapters.base import Adapter, CopiesWithin, ListsUnfinished, ReadsUnfinished, ReportsSpace, SignsUrls
from tests.servers.gateway import ROOT

PAGE: Path = ROOT / "docs" / "adapters.md"
_WORDS = {True: "yes", False: "no"}


def cells(adapter: Adapter) -> list[str]:
    """What the adapter says of itself once it has seen its server; the kit's other tests hold it to that."""
    assert all(step.ok for step in adapter.check())
    traits = adapter.traits
    guarantees = [traits.atomic_create, traits.atomic_replace, traits.resumes, traits.strong_versions]
    optional = (CopiesWithin, ListsUnfinished, ReadsUnfinished, ReportsSpace, SignsUrls)
    capabilities = [isinstance(adapter, capability) for capability in optional]
    return [*(_WORDS[one] for one in [*guarantees, *capabilities]), ", ".join(traits.checksums) or "no"]


class Documented:
    """A group of the kit for Waybill's own adapters. ``row`` is the first cell of the adapter's row."""

    row: str

    def test_guarantees_are_those_that_are_documented(self, adapter: Adapter) -> None:
        text, found = PAGE.read_text(), cells(adapter)
        line = re.search(rf"^\| {re.escape(self.row)} \|.*$", text, re.MULTILINE)
        assert line, f"{PAGE.name} has no row {self.row}"
        if os.environ.get("WAYBILL_WRITE_DOCS"):
            PAGE.write_text(text.replace(line[0], f"| {self.row} | {' | '.join(found)} |"))
            return
        assert [cell.strip() for cell in line[0].strip("|").split("|")][1:] == found
