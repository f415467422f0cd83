"""Limits: how much an archive may hold, so that a small one cannot fill a storage."""

from dataclasses import dataclass

from staging.errors import ArchiveTooLarge

#: So much may come of however little: the first block of a file that compresses well is no bomb yet.
_RATIO_FREE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The most files, the most bytes of one and of all, unpacked, the most bytes of a zip, and the highest ratio.

    ``ratio`` is that of unpacked to packed bytes at any moment. A zip is kept on disk while it is unpacked.
    """

    members: int = 100_000
    member_bytes: int = 5 * 2**40
    content_bytes: int = 5 * 2**40
    zip_bytes: int = 2**33
    ratio: int = 200

    def check_ratio(self, packed: int, unpacked: int) -> None:
        """Raises ArchiveTooLarge where so few bytes have become too many."""
        if unpacked > _RATIO_FREE_BYTES and unpacked > self.ratio * packed:
            raise ArchiveTooLarge(f"It unpacks to more than {self.ratio} times its size.")
