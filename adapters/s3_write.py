"""Writing to S3: small objects are put in one request, large ones go straight into the parts of a multipart upload.

What a session holds does not depend on the object's size: what waits to be sent (``adapters.s3_parts``), and at most
``PART_BYTES`` more where no size was declared or a small one. Those of a middling size may go in one request as well
(``adapters.s3_whole``).

Beside an unfinished write in parts, or a suspended one, lies a small object under a partial's name, as on every other
storage. Its first line is ``<offset> <upload id>``, the id empty where no upload was begun; behind it are the bytes
from that offset on that no part holds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Self

from adapters import s3_powers
from adapters.base import ObjectStat, WriteSession
from adapters.errors import AdapterError, NotFound, SizeMismatch, WriteLost
from adapters.s3_bucket import S3Bucket, md5_hex
from adapters.s3_multipart import MAX_PARTS, Multipart
from adapters.s3_whole import Whole
from adapters.slots import Slot
from adapters.tokens import WriteToken

PART_BYTES = 8 * 1024 * 1024


class S3Write(WriteSession):
    """A write of a declared size streams each part as it comes; else a part is collected until it is full.

    It holds one of the bucket's slots from its beginning to its end.
    """

    def __init__(
        self,
        bucket: S3Bucket,
        token: WriteToken,
        *,
        part_bytes: int,
        slot: Slot,
        upload: Multipart | None = None,
        collected: bytes = b"",
        marked: bool = False,
    ) -> None:
        self.key = token.key
        self.token = str(token)
        self.offset = (upload.size if upload else 0) + len(collected)
        self._bucket = bucket
        self._token = token
        self._part_bytes = part_bytes
        self._upload = upload
        self._collected = bytearray(collected)
        self._whole: Whole | None = None
        self._room = 0  # bytes still missing from the part that is being streamed
        self._marked = self._resumed = marked
        # What comes a little at a time would never fill a large part, of which nothing is left when the write ends.
        parts = upload.parts if upload else []
        small = not parts or parts[0].size <= part_bytes
        self._collects = marked and small and (token.size or 0) <= MAX_PARTS * part_bytes
        self._over = False
        self._slot = slot

    @classmethod
    def resume(cls, bucket: S3Bucket, token: WriteToken, *, part_bytes: int, slot: Slot) -> Self:
        """Raises WriteLost."""
        upload_id, offset, collected = _read_mark(bucket, token)
        upload = Multipart.resume(bucket, token.key, upload_id) if upload_id else None
        if offset != (upload.size if upload else 0):
            collected = b""  # Parts were added since: these bytes are within them, or were lost with a later one.
        return cls(
            bucket,
            token,
            part_bytes=part_bytes,
            slot=slot,
            upload=upload,
            collected=collected,
            marked=True,
        )

    def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        declared = self._token.size
        if declared is not None and self.offset + len(left) > declared:
            raise self._wrong_size(self.offset + len(left))
        if declared is not None and declared > self._part_bytes and not (self._collects or self._collected):
            # What is sent later must be nobody's to change.
            self._stream(memoryview(data if isinstance(data, bytes) else bytes(data)), declared)
        else:
            self._collect(left)

    def publish(self) -> ObjectStat:
        if self._token.size not in (None, self.offset):
            raise self._wrong_size(self.offset)
        if self._whole is not None:
            stat = self._whole.publish()
            self._whole.close()
        else:
            stat = self._publish_parts(self._upload) if self._upload else self._publish_collected()
        self._over = True
        s3_powers.learn(self._bucket)
        with suppress(AdapterError):  # A mark without its upload does no harm: resuming it is WriteLost.
            self._unmark()
        self._slot.give_back()
        return stat

    def suspend(self) -> str:
        try:
            if self._whole is not None:
                self._leave_whole(self._whole)
            else:
                self._leave_parts()
            self._over = True
        finally:
            self._slot.give_back()
        return self.token

    def abort(self) -> None:
        try:
            if not self._over:
                self._over = True
                if self._whole is not None:
                    self._whole.close()
                if self._upload is not None:
                    self._upload.abort()
                self._unmark()
        finally:
            self._slot.give_back()

    def _stream(self, left: memoryview, declared: int) -> None:
        if self._upload is None and self._whole is None and not self._resumed:
            s3_powers.learn(self._bucket)
            self._whole = Whole.begin(self._bucket, self.key, declared, self._token.mode)
        if self._whole is not None:
            self._whole.send(left)
            self.offset += len(left)
            return
        upload = self._upload or self._begin_upload()
        while left:
            if not self._room:
                self._room = min(declared - self.offset, upload.part_bytes(declared, least=self._part_bytes))
                upload.open_part(self._room)
            piece = left[: self._room]
            upload.send(piece)
            self.offset += len(piece)
            self._room -= len(piece)
            left = left[len(piece) :]

    def _collect(self, left: memoryview) -> None:
        while left:
            if len(self._collected) == self._part_bytes:
                self._send_collected(self._upload or self._begin_upload())
            piece = left[: self._part_bytes - len(self._collected)]
            self._collected += piece
            self.offset += len(piece)
            left = left[len(piece) :]

    def _send_collected(self, upload: Multipart) -> None:
        upload.open_part(len(self._collected))
        upload.send(self._collected)
        self._collected = bytearray()

    def _publish_parts(self, upload: Multipart) -> ObjectStat:
        if self._collected:
            self._send_collected(upload)
        return upload.publish(self._token.mode)

    def _publish_collected(self) -> ObjectStat:
        data = self._collected
        return self._bucket.publish(
            self.key,
            self._token.mode,
            lambda create: self._bucket.put_checked(self.key, data, create=create),
            size=len(data),
            version=lambda: md5_hex(data),
        )

    def _leave_parts(self) -> None:
        if self._upload is not None:
            self._upload.disconnect(patience_s=self._bucket.stall_timeout_s)
            if self._upload.size + len(self._collected) != self.offset:
                self._collected = bytearray()  # A part before these bytes has not arrived.
        if self._collected or not self._marked:
            self._mark()

    def _leave_whole(self, whole: Whole) -> None:
        """Put what was sent in one request into parts; while the server cannot be reached, it is lost."""
        self._whole = None
        self.offset = 0
        try:
            whole.disconnect()
            for piece in whole.kept.pieces():
                self._collect(memoryview(piece))
            self._leave_parts()
        except AdapterError:
            if self._upload is not None:
                self._upload.disconnect()
            if not self._marked:
                raise
        finally:
            whole.close()

    def _begin_upload(self) -> Multipart:
        s3_powers.learn(self._bucket)
        self._upload = upload = Multipart.begin(self._bucket, self.key, checked=self._bucket.sends_sums)
        self._mark(collected=b"")
        return upload

    def _mark(self, collected: bytes | None = None) -> None:
        """Leave beside the key what a later process needs to go on."""
        upload_id, offset = (self._upload.upload_id, self._upload.size) if self._upload else ("", 0)
        tail = self._collected if collected is None else collected
        mark(self._bucket, self._token, upload_id, offset, bytes(tail))
        self._marked = True

    def _unmark(self) -> None:
        if self._marked:
            self._bucket.delete(self._token.partial)
            self._marked = False

    def _wrong_size(self, found: int) -> SizeMismatch:
        return SizeMismatch(
            f"{found} bytes, {self._token.size} were declared", storage=self._bucket.storage, key=self.key
        )


def abort_write(bucket: S3Bucket, token: WriteToken) -> None:
    """Remove the unfinished write that a token names; one that is gone is success."""
    try:
        upload_id, _, _ = _read_mark(bucket, token)
    except WriteLost:
        return
    if upload_id:
        Multipart(bucket, token.key, upload_id, []).abort()
    bucket.delete(token.partial)


def mark(bucket: S3Bucket, token: WriteToken, upload_id: str, offset: int = 0, collected: bytes = b"") -> None:
    """Leave beside the key what a later process needs to go on with the write, or to remove it."""
    with bucket.translating(token.key):
        bucket.put(token.partial, f"{offset} {upload_id}\n".encode() + collected)


def unmark(bucket: S3Bucket, token: WriteToken) -> None:
    """Take the mark away once nothing is left; one that stays does no harm, for resuming it is WriteLost."""
    with suppress(AdapterError):
        bucket.delete(token.partial)


def _read_mark(bucket: S3Bucket, token: WriteToken) -> tuple[str, int, bytes]:
    """The upload's id (empty for none), the offset and the collected bytes; raises WriteLost."""
    try:
        with bucket.translating(token.key):
            answer = bucket.client.get_object(Bucket=bucket.name, Key=bucket.path(token.partial))
            with answer["Body"] as body:
                first, _, collected = body.read().partition(b"\n")
    except NotFound as exc:
        raise WriteLost(storage=bucket.storage, key=token.key) from exc
    offset, _, upload_id = first.decode().partition(" ")
    return upload_id, int(offset), collected
