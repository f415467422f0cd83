"""Everything an adapter may raise: each error names the storage and the key, and says whether the fault may pass.

An adapter translates its driver's exceptions into these in one place. ``transient`` is the promise that the same
call may succeed later without anybody changing anything; only those errors are ever retried.
"""

from __future__ import annotations

from typing import ClassVar


class AdapterError(Exception):
    """A storage could not do what was asked.

    ``code`` is stable and machine-readable, ``transient`` says whether trying again may help, ``storage`` is the
    storage's name and ``key`` the key it concerned (empty where no key is involved). ``detail`` is one sentence for
    an operator and never holds a secret.
    """

    code: ClassVar[str] = "adapter_error"
    transient: ClassVar[bool] = False
    summary: ClassVar[str] = "the storage could not do what was asked"

    def __init__(self, detail: str = "", *, storage: str = "", key: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.storage = storage
        self.key = key

    def __str__(self) -> str:
        where = f"storage {self.storage or '(unnamed)'}"
        if self.key:
            where += f", key {self.key!r}"
        return f"{where}: {self.summary}" + (f" ({self.detail})" if self.detail else "")


class InvalidKey(AdapterError):
    """The key can never name an object on any storage, or not on this one."""

    code = "invalid_key"
    summary = "the key is not legal"


class NotFound(AdapterError):
    """There is no object at this key."""

    code = "not_found"
    summary = "no such object"


class AlreadyExists(AdapterError):
    """A CREATE found an object at its key; what was there is untouched."""

    code = "already_exists"
    summary = "an object exists at this key"


class VersionChanged(AdapterError):
    """The object at the key is not the version that was asked for, or changed while it was read."""

    code = "version_changed"
    summary = "the object has changed"


class RangeInvalid(AdapterError):
    """The range does not lie within the object."""

    code = "range_invalid"
    summary = "the range lies outside the object"


class AccessDenied(AdapterError):
    """The storage refused Waybill's own credential or host key; an operator has to act."""

    code = "access_denied"
    summary = "the storage refused our credential"


class OutOfSpace(AdapterError):
    """The storage is full or a quota there is used up."""

    code = "out_of_space"
    summary = "no space left"


class SizeMismatch(AdapterError):
    """The bytes written are not as many as were declared; nothing was published."""

    code = "size_mismatch"
    summary = "the number of bytes is not the one declared"


class ChecksumMismatch(AdapterError):
    """The storage computed another checksum than the writer; nothing was published."""

    code = "checksum_mismatch"
    summary = "the checksum does not match"


class Damaged(AdapterError):
    """The bytes that were read are not those that were stored there."""

    code = "damaged"
    summary = "the storage returned other bytes than were stored there"


class WriteLost(AdapterError):
    """The unfinished write that a token names is no longer there."""

    code = "write_lost"
    summary = "the unfinished write is gone"


class Unsupported(AdapterError):
    """This kind of storage has no such operation, whatever the key: plain HTTP takes no writes and has no listings."""

    code = "unsupported"
    summary = "this kind of storage cannot do that"


class TransientAdapterError(AdapterError):
    """A fault that may pass by itself."""

    code = "unavailable"
    transient = True
    summary = "the storage failed in a way that may pass"


class Unavailable(TransientAdapterError):
    """The storage was reached and broke or refused for now."""


class Offline(TransientAdapterError):
    """The storage could not be reached at all."""

    code = "offline"
    summary = "the storage cannot be reached"


class TimedOut(TransientAdapterError):
    """The storage did not answer, or moved no byte, within its time limit."""

    code = "timed_out"
    summary = "the storage did not answer in time"


class NotTried(TransientAdapterError):
    """Waybill did not ask the storage; ``retry_after_s`` says in how many seconds it may, None where nobody knows."""

    code = "not_tried"
    summary = "the storage was not asked"

    def __init__(
        self, detail: str = "", *, storage: str = "", key: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, storage=storage, key=key)
        self.retry_after_s = retry_after_s


class Busy(NotTried):
    """As many connections are in use as the storage's settings allow a process: ``limit``, 0 where that is not told."""

    code = "busy"
    summary = "all connections that it may have are in use"

    def __init__(self, detail: str = "", *, storage: str = "", key: str = "", limit: int = 0) -> None:
        super().__init__(detail, storage=storage, key=key)
        self.limit = limit


class Failing(NotTried):
    """The storage failed so often in a row that it is left alone for a moment."""

    code = "failing"
    summary = "it fails at the moment and is left alone until it is tried again"


class Truncated(TransientAdapterError):
    """A read ended before the bytes that were promised."""

    code = "truncated"
    summary = "the storage sent fewer bytes than the object has"
