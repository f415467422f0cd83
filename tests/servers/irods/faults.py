"""What goes wrong in the stand-in because a test says so: a file in its folder, which both sides read."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """What happens to calls with the number ``api``.

    ``act`` is ``refuse`` (with ``code``), ``cut`` (before the call is done), ``lose`` (done, and the line is cut
    before the answer), ``wait`` (``seconds``, then done) or ``lie`` (a checksum that is wrong, or fewer bytes at
    once than were asked for). It begins with the call that comes after ``skip`` others, and ends after ``times`` calls.
    """

    api: int
    act: str
    code: int = 0
    seconds: float = 0.0
    skip: int = 0
    times: int = 1_000_000
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Faults:
    """The test's side."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faults.json"

    def add(self, api: int, act: str, **more: float) -> None:
        faults = [*_read(self._file), Fault(api, act, **more)]  # type: ignore[arg-type]
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(fault) for fault in faults]))
        fresh.rename(self._file)

    def heal(self) -> None:
        """Let everything work again."""
        self._file.unlink(missing_ok=True)


class Meeting:
    """The server's side: which fault a call meets, if any."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faults.json"
        self._met: dict[str, int] = {}

    def meet(self, api: int) -> Fault | None:
        for fault in _read(self._file):
            if fault.api == api:
                count = self._met[fault.id] = self._met.get(fault.id, 0) + 1
                if fault.skip < count <= fault.skip + fault.times:
                    return fault
        return None


def _read(file: Path) -> list[Fault]:
    try:
        return [Fault(**fault) for fault in json.loads(file.read_text())]
    except FileNotFoundError:
        return []
