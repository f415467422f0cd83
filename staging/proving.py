"""Proving: what a storage holds is what was written to it, as far as a policy wants to see that."""

from collections.abc import Callable

from adapters.base import Adapter, ObjectStat
from staging.pump import Hasher, pump
from staging.states import VerifyMode


def is_proven(
    adapter: Adapter, stat: ObjectStat, sha256: str, verify: VerifyMode, on_progress: Callable[[int], None]
) -> bool:
    """Whether a published copy has this digest: by the storage's word, or by reading it back where the mode wants that.

    Its size was compared when it was published. Raises what the storage raises.
    """
    told = stat.checksum.hex if stat.checksum and stat.checksum.algorithm == "sha-256" else ""
    if verify == VerifyMode.READ or (verify == VerifyMode.CHECKSUM and not told):
        told = sha256_of(adapter, stat.key, on_progress)
    return told in ("", sha256)


def sha256_of(adapter: Adapter, key: str, on_progress: Callable[[int], None]) -> str:
    """The digest of the bytes that the storage holds, by reading all of them."""
    with adapter.open_read(key) as stream, Hasher(["sha256"]) as hasher:
        pump(stream, lambda _: None, hasher, on_progress=on_progress)
        return hasher.finish()["sha256"].hex()
