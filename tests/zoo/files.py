"""What the clients of the zoo carry: some megabytes, nothing, and names that break clients."""

from __future__ import annotations

import random
from pathlib import Path

from tests.wire.desk import Desk, sha256

#: Some megabytes that nothing can compress and no two parts of which are alike.
DATA = random.Random(10).randbytes(5_000_003)

#: Names that are legal in a key and in a file system, and that shells, URLs and clients like to get wrong.
ODD_NAMES = (
    "two words.txt",
    "naïve 漢字 résumé.bin",
    "100%25.dat",
    "50%.dat",
    "a+b=c&d.txt",
    "#1; part?.txt",
    "say \"hi\" 'there'.txt",
    "-dash.txt",
    "with:colon.txt",
    "[0-9]{a,b}.txt",
)


def content(number: int) -> bytes:
    """Another content for each number: a shifted part of the data, so that no two files can be taken for each other."""
    return DATA[number * 1_000 : 300_000 + number * 1_001]


def stored_digest(desk: Desk, key: str) -> str:
    """The SHA-256 of what the gateway has stored under the key, as it says itself."""
    made = desk.current(key)
    assert made is not None, f"nothing is stored as {key}"
    return made.sha256


def assert_arrived(desk: Desk, key: str, data: bytes, target: Path) -> None:
    """What lies in the target, what was stored, and what was to be sent have one digest."""
    assert target.is_file(), sorted(path.name for path in target.parent.iterdir())
    assert sha256(target.read_bytes()) == stored_digest(desk, key) == sha256(data)


def assert_stored(desk: Desk, key: str, data: bytes) -> None:
    """What was sent is stored whole, and what comes back has its digest; nothing is left over."""
    came = desk.ask("GET", desk.read(key))
    assert sha256(came.body) == stored_digest(desk, key) == sha256(data)
    desk.assert_nothing_is_left()
