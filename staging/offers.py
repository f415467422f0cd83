"""Offers and receipts: what is known of a body before it comes, and what is told of it afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from staging import placement
from staging.blocks import BLOCK_SUMS, Content
from staging.errors import DigestMismatch, SizeMismatch, StreamEmpty
from staging.models import Alias, Object
from staging.pump import Hasher, Source, pump
from staging.states import Durability


def _nothing() -> None:
    """There is nobody to stop."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is known of a body before its first byte. ``size`` None: not declared. ``digests``: by hashlib's names.

    A body may be a part: the bytes from ``start`` on of a whole of ``total`` bytes (None: not known), the last part or
    not; one that ``appends`` belongs to an upload that was begun. ``resumable``: its client knows how to go on, also
    where the length is not known. ``digests`` are of the whole, ``part_digests`` of a part's own bytes. ``stop`` ends
    it early, from any thread.
    """

    size: int | None
    content_type: str = ""
    digests: Mapping[str, bytes] = field(default_factory=dict)
    start: int = 0
    total: int | None = None
    is_last: bool = True
    appends: bool = False
    resumable: bool = False
    part_digests: Mapping[str, bytes] = field(default_factory=dict)
    stop: Callable[[], None] = _nothing

    @property
    def whole(self) -> int | None:
        """How many bytes the object will have; None where that is not known."""
        if self.total is None and self.is_last and self.size is not None:
            return self.start + self.size
        return self.total


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stands at the alias's key now. ``replayed``: it stood there before, and the body was equal to it."""

    object: Object
    durability: Durability
    replayed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes of an upload are safe; ``object`` is what it has become, once it is complete."""

    offset: int
    object: Object | None = None
    length: int | None = None


def take(
    body: Source, write: Callable[[bytes], None], alias: Alias, offer: Offer, *, on_progress: Callable[[int], None]
) -> Content:
    """Move the whole body and return what came, checked against all that was promised of it."""
    with Hasher({"sha256", BLOCK_SUMS, *offer.digests}) as hasher:
        size = pump(body, write, hasher, on_progress=on_progress)
        digests = hasher.finish()
    if offer.size is None and size == 0 and not alias.allow_empty_stream:
        raise StreamEmpty
    check_whole(alias, size, offer.digests, digests)
    return Content(size, digests["sha256"].hex(), digests[BLOCK_SUMS])


def check_whole(alias: Alias, size: int, promised: Mapping[str, bytes], found: Mapping[str, bytes]) -> None:
    """Compare what came with what was announced and what the alias was made for. Raises what differs."""
    if alias.size is not None and size != alias.size:
        raise SizeMismatch(f"{size} bytes came, the alias is for exactly {alias.size}.")
    for name, digest in promised.items():
        if found[name] != digest:
            raise DigestMismatch(f"The {name} of the {size} bytes received is {found[name].hex()}, not {digest.hex()}.")
    sha256 = found["sha256"].hex()
    if alias.sha256 and sha256 != alias.sha256:
        raise DigestMismatch(f"The SHA-256 of the {size} bytes received is {sha256}, the alias is for {alias.sha256}.")


def receipt_of(made: Object, *, replayed: bool) -> Receipt:
    """The receipt of an object as it stands now."""
    replicas = made.replicas.select_related("storage")
    return Receipt(made, placement.durability(replicas), replayed)
