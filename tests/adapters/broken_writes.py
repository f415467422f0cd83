"""Adapters that break a promise of writing or resuming; ``test_kit_catches`` names the test that notices."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from adapters.base import ObjectStat, ReadStream, WriteMode, WriteSession
from adapters.errors import AlreadyExists, NotFound
from adapters.memory import MemoryAdapter
from adapters.tokens import WriteToken


class OtherSession(MemoryAdapter):
    """Hands out its sessions through ``change``."""

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        session = super().open_write(key, size=size, mode=mode)
        self.change(session)
        return session

    def change(self, session: Any) -> None:
        raise NotImplementedError


class PublishesShort(OtherSession):
    """Publish does not look at the size that was declared."""

    def publish(self, token: WriteToken) -> ObjectStat:
        undeclared = WriteToken.new(token.key, size=None, mode=token.mode)
        self._unfinished[undeclared] = self._unfinished.pop(token)
        return super().publish(undeclared)

    def change(self, session: Any) -> None:
        """Only the end is at fault."""


class PublishesLong(PublishesShort):
    """Nor does write."""

    def change(self, session: Any) -> None:
        def write(data: bytes) -> None:
            session.offset = self.append(session._token, data)

        session.write = write


class CutsLong(OtherSession):
    """Bytes beyond the declared size are dropped without a word."""

    def change(self, session: Any) -> None:
        write, size = session.write, session._token.size
        session.write = lambda data: write(data if size is None else data[: size - session.offset])


class AbortLeavesPartial(OtherSession):
    """An abort forgets the write, and not its bytes."""

    def change(self, session: Any) -> None:
        session.abort = lambda: None


class PublishesOnLeaving(PublishesShort):
    """Leaving the block closes the file, which makes it an object: what a plain ``with open`` does."""

    def change(self, session: Any) -> None:
        def abort() -> None:
            if not session._over:
                session.publish()

        session.abort = abort


class KeepsTheBuffer(OtherSession):
    """Holds on to the caller's memory until it publishes."""

    def change(self, session: Any) -> None:
        held: list[bytes | memoryview] = []
        write, publish = session.write, session.publish

        def late() -> ObjectStat:
            for data in held:
                write(data)
            stat: ObjectStat = publish()
            return stat

        session.write, session.publish = held.append, late


class SwallowsErrors(OtherSession):
    """A publish that fails is no error."""

    def change(self, session: Any) -> None:
        publish = session.publish

        def quiet() -> ObjectStat:
            with suppress(AlreadyExists):
                return publish()  # type: ignore[no-any-return]
            return self.stat(session.key)

        session.publish = quiet


class CreateOverwrites(MemoryAdapter):
    """CREATE is REPLACE."""

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        return super().open_write(key, size=size, mode=WriteMode.REPLACE)


class CreateOverwritesLate(MemoryAdapter):
    """CREATE looks before the bytes come, and not after."""

    def publish(self, token: WriteToken) -> ObjectStat:
        late = WriteToken.new(token.key, size=token.size, mode=WriteMode.REPLACE)
        self._unfinished[late] = self._unfinished.pop(token)
        return super().publish(late)


class VisibleBeforePublish(CreateOverwritesLate):
    """Bytes go straight to the key."""

    def append(self, token: WriteToken, data: bytes | memoryview) -> int:
        size = super().append(token, data)
        now = WriteToken.new(token.key, size=None, mode=WriteMode.REPLACE)
        self._unfinished[now] = bytearray(self._unfinished[token])
        self.publish(now)
        return size


class ReplaceNotAtomic(MemoryAdapter):
    """The old object is deleted before the new one is there; a reader falls into the gap."""

    def __init__(self, name: str, *, capacity_bytes: int) -> None:
        super().__init__(name, capacity_bytes=capacity_bytes)
        self._missed = threading.Event()

    def publish(self, token: WriteToken) -> ObjectStat:
        if token.mode is WriteMode.REPLACE:
            self.delete(token.key)
            self._missed.wait(timeout=10)
        return super().publish(token)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        try:
            return super().open_read(key, start, stop, version=version)
        except NotFound:
            self._missed.set()
            raise


class ResumeLosesBytes(MemoryAdapter):
    """The last byte is gone, and the offset as if it were not."""

    def resume_write(self, token: str) -> WriteSession:
        session = super().resume_write(token)
        del self._unfinished[WriteToken.parse(token, storage=self.name)][-1:]
        return session


class ResumeStartsAnew(MemoryAdapter):
    def resume_write(self, token: str) -> WriteSession:
        self._unfinished[WriteToken.parse(token, storage=self.name)].clear()
        return super().resume_write(token)


class ResumeForgetsMode(MemoryAdapter):
    """A resumed write replaces, whatever was meant."""

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        bold = WriteToken(parsed.key, f"1{parsed.hex[1:]}")
        super().resume_write(token)
        self._unfinished[bold] = self._unfinished.pop(parsed)
        return super().resume_write(str(bold))


class ResumeForgetsSize(MemoryAdapter):
    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        free = WriteToken.new(parsed.key, size=None, mode=parsed.mode)
        super().resume_write(token)
        self._unfinished[free] = self._unfinished.pop(parsed)
        return super().resume_write(str(free))


class FindsWritesOfNeighbours(MemoryAdapter):
    """The unfinished writes of a key are those of all that begin alike."""

    def unfinished_writes(self, key: str) -> list[str]:
        return [str(token) for token in self._unfinished if token.key.startswith(key)]


class FindsNoWrites(MemoryAdapter):
    def unfinished_writes(self, key: str) -> list[str]:
        return []


class AbortByTokenDoesNothing(MemoryAdapter):
    def abort_write(self, token: str) -> None:
        """Somebody else's business."""


class TrustsTokens(MemoryAdapter):
    """Whatever stands in a token is a write to go on with."""

    def resume_write(self, token: str) -> WriteSession:
        return super().open_write("from-a-token", size=None, mode=WriteMode.REPLACE)
