"""Everything the domain may refuse or fail with; ``gateway/problems.py`` alone turns these into answers.

``code`` is stable and documented in docs/errors.md, ``transient`` says whether the same request may succeed later
without anybody changing anything, ``hint`` is one sentence on what to do about it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class StagingError(Exception):
    """A request that the domain's rules refuse, or that it could not carry out."""

    code: ClassVar[str] = "staging_error"
    transient: ClassVar[bool] = False
    hint: ClassVar[str] = ""

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.detail


class AliasUnknown(StagingError):
    """There is no such alias."""

    code = "alias_unknown"
    hint = "Check that the URL was copied whole."


class AliasExpired(StagingError):
    """The alias has expired."""

    code = "alias_expired"
    hint = "Ask the workflow engine to extend it or to make a new one."


class AliasRevoked(StagingError):
    """The alias was revoked."""

    code = "alias_revoked"
    hint = "Ask whoever gave it out for a new one."


class AliasUsedUp(StagingError):
    """The alias has been used as often as it may be."""

    code = "alias_used_up"
    hint = "Ask the workflow engine for a new one."


class WrongDirection(StagingError):
    """The alias works in the other direction."""

    code = "wrong_direction"
    hint = "A read alias answers GET and HEAD, a write alias takes PUT."

    def __init__(self, detail: str = "", *, allowed: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allowed = allowed


class DataPending(StagingError):
    """The data is not there yet."""

    code = "data_pending"
    transient = True
    hint = "Try again later; the alias stays the same."


class ProducerFailed(StagingError):
    """Whoever was to produce the data has given up."""

    code = "producer_failed"
    hint = "The workflow engine has to run the producer again, with an output alias made anew or with the same one."


class SourceMissing(StagingError):
    """What the alias names is not there any more, or never was."""

    code = "source_missing"
    hint = "Check the key; if a job is to produce it, make its output alias first."


class ObjectUnavailable(StagingError):
    """No replica of the object can be read at the moment."""

    code = "object_unavailable"
    transient = True
    hint = "An operator can see in the admin which storages are affected."


class FolderIncomplete(StagingError):
    """What was to be listed holds something that nobody can read by any key, so that nobody could get all of it."""

    code = "folder_incomplete"
    hint = "Put it right on the storage; aliases and copies of the other files, one by one, work all the same."


class ObjectLost(StagingError):
    """Every copy of the object is gone for good."""

    code = "object_lost"
    hint = "Run its producer again, or upload the same bytes once more."


class ContentDiffers(StagingError):
    """Other content has already been committed at this key."""

    code = "already_exists"
    hint = "Make the alias with on_exists=replace if it is to be replaced."


class DigestMismatch(StagingError):
    """The bytes received do not have the digest that was announced for them."""

    code = "digest_mismatch"
    hint = "Upload the file again; if this repeats, it changes while it is read."


class SizeMismatch(StagingError):
    """The body is not as long as the alias says it must be."""

    code = "size_mismatch"
    hint = "Upload the file that the alias was made for."


class PartsDiffer(StagingError):
    """The parts of a resumed upload do not make up what was announced."""

    code = "parts_differ"
    transient = True
    hint = "Upload the whole again from its first byte; the parts may be those of different files."


class WrongOffset(StagingError):
    """The body does not begin where the bytes that are safe end."""

    code = "wrong_offset"
    hint = "Ask HEAD for Upload-Offset and go on from there; 0 means from the beginning."

    def __init__(self, detail: str = "", *, offset: int, complete: bool) -> None:
        super().__init__(detail)
        self.offset = offset
        self.complete = complete


class BodyIncomplete(StagingError):
    """The body ended before the length that was announced for it."""

    code = "incomplete_body"
    transient = True
    hint = "Nothing of it is visible; upload again, or go on from the Upload-Offset that HEAD tells."


class StreamEmpty(StagingError):
    """A body of unknown length was empty."""

    code = "empty_stream"
    hint = "A retry cannot send standard input again: upload a file, or allow empty streams on the alias."


class StreamInterrupted(StagingError):
    """An earlier body of unknown length broke off, so this one may be only its tail."""

    code = "stream_interrupted"
    hint = "Upload a file (a body of known length), or send its digest in a Repr-Digest header."


class TooLarge(StagingError):
    """The body is larger than the alias or the bucket allows."""

    code = "too_large"
    hint = "Ask for an alias with a larger max_bytes, or for another bucket policy."


class NoSpace(StagingError):
    """There is no space left where the bucket's policy wants the bytes."""

    code = "no_space"
    hint = "An operator has to free space or to raise the storage's capacity."


class StorageClosed(StagingError):
    """The storage takes no new data at the moment."""

    code = "storage_closed"
    transient = True
    hint = "It is cordoned, draining or out of reach; try again later."


class StorageGone(StagingError):
    """The storage was given up: it is gone for good, and what lay there with it."""

    code = "storage_gone"
    hint = "What it held has to be made again, in a bucket of another storage."


class StorageUnusable(StagingError):
    """The storage's settings or credential cannot be used as they are; an operator has to act."""

    code = "storage_unusable"
    transient = True
    hint = "The operators have to repair the storage; try again later."


class CopyDiffers(StagingError):
    """The bytes of a copy are not those of the object."""

    code = "copy_differs"
    transient = True
    hint = "Nothing wrong became visible. Waybill tries its own copies again; send an upload again."


class Unforeseen(StagingError):
    """Something failed in a way that nobody foresaw; only transfers meet it."""

    code = "unforeseen"
    transient = True
    hint = "The log of the worker has the traceback; it is tried again."


class LeaseLost(StagingError):
    """The upload took so long without progress that its reservation was given up."""

    code = "lease_lost"
    transient = True
    hint = "Nothing was stored; upload again."


class InvalidRequest(StagingError):
    """The request is not well formed. ``fields`` says what is wrong with each field; of a list, by place and field."""

    code = "invalid_request"

    def __init__(self, detail: str, *, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.fields = dict(fields or {})


class NameTaken(StagingError):
    """Something of this name exists in the project."""

    code = "name_taken"
    hint = "Choose another name, or change the one that exists."


class InUse(StagingError):
    """It is still in use, and removing it would lose data."""

    code = "in_use"


class NotFound(StagingError):
    """There is no such thing in this project."""

    code = "not_found"


class AddressRefused(StagingError):
    """The address lies under no storage that is registered in this project."""

    code = "address_refused"
    hint = "Register the storage first; Waybill calls no other address."


class IdempotencyKeyReused(StagingError):
    """The Idempotency-Key came with another request before."""

    code = "idempotency_key_reused"
    hint = "Make a new key for each new request, and repeat it only with the very same one."


class ArchiveInvalid(StagingError):
    """The archive is damaged, cut short, or holds what is not unpacked."""

    code = "archive_invalid"
    hint = "Nothing of it was stored. Archives hold plain files and folders only; make it anew and upload it whole."


class ArchiveTooLarge(StagingError):
    """The archive holds more than may be unpacked."""

    code = "archive_too_large"
    hint = "Nothing of it was stored. Split it, or upload its files one by one."
