"""What tests of archives share: a bucket with a folder in it, and the archive of that folder."""

import io
import tarfile

import pytest

from adapters.errors import AdapterError
from staging import archives
from staging.archives import Archive
from tests.place import Place
from tests.staging.bodies import put

FILES = {
    "a.bin": bytes(range(256)) * 40,
    "empty": b"",
    "sub/one block": b"x" * 512,
    "sub/Ω" + "long" * 50: b"tail",
    "z": b"last" * 1000,
}
MUCH_LATER = 4_000_000_000
BOTH = pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])


def fill(place: Place, files: dict[str, bytes] = FILES, *, mounted: bool = False) -> None:
    for name, data in files.items():
        put(place, data, key=f"run/{name}", mounted=mounted)
    put(place, b"beside", key="run.txt", mounted=mounted)
    put(place, b"behind", key="runs/x", mounted=mounted)


def of(place: Place, *, mounted: bool = False) -> Archive:
    return archives.of(place.mounted if mounted else place.managed, "run/")


def read(archive: Archive, start: int = 0, stop: int | None = None, *, piece: int = 100_000) -> bytes:
    with archive.open(start, archive.size if stop is None else stop) as stream:
        return b"".join(iter(lambda: stream.read(piece), b""))


def unpack(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errorlevel=2) as reader:
        return {member.name: reader.extractfile(member).read() for member in reader}  # type: ignore[union-attr]


def broken(archive: Archive, *kinds: type[AdapterError], piece: int = 100) -> int:
    """How many bytes came before the stream broke, as it must."""
    came = 0
    with archive.open(0, archive.size) as stream:
        try:
            while chunk := stream.read(piece):
                came += len(chunk)
        except kinds:
            assert came < archive.size
            return came
    raise AssertionError("it ended politely")
