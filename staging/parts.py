"""Parts: an upload that came in several is read once more as a whole, before anybody else may see it."""

from adapters.base import ReadStream
from staging.blocks import BLOCK_SUMS, Content
from staging.errors import DigestMismatch, PartsDiffer
from staging.leases import UploadLease
from staging.models import Upload
from staging.offers import check_whole
from staging.pump import Hasher, pump


def read_once_more(stream: ReadStream, upload: Upload, lease: UploadLease) -> Content:
    """The bytes that the storage holds, as their size and sums.

    Raises PartsDiffer where they are not what was announced for the whole or what the alias was made for, SizeMismatch,
    LeaseLost, and what the storage raises.
    """
    with Hasher({"sha256", BLOCK_SUMS, *upload.promised}) as hasher:
        size = pump(stream, lambda _: None, hasher, on_progress=lambda _: lease.keep())
        digests = hasher.finish()
    promised = {name: bytes.fromhex(digest) for name, digest in upload.promised.items()}
    try:
        check_whole(upload.alias, size, promised, digests)
    except DigestMismatch as exc:
        raise PartsDiffer(str(exc)) from exc
    return Content(size, digests["sha256"].hex(), digests[BLOCK_SUMS])
