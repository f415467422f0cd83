"""One connection of the stand-in: its calls about data objects and collections, and what it has open."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from dataclasses import dataclass

from tests.servers.irods.faults import Fault
from tests.servers.irods.frames import Frame, Refused, element
from tests.servers.irods.queries import Queries
from tests.servers.irods.store import EXISTS_AS_OBJECT, GOOD, STALE, Row, Store

BAD_DESCRIPTOR, UNKNOWN_CALL = -23_000, -12_000
_FIRST_DESCRIPTOR = 3


@dataclass
class Opened:
    """One open replica."""

    row: Row
    file: int
    writing: bool


class Agent:
    """Does what one client asks for; ``answer`` gives the number, the body and the bytes of the reply."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queries = Queries(store)
        self._opened: dict[int, Opened] = {}

    def answer(self, frame: Frame, lie: Fault | None) -> tuple[int, str, bytes]:
        match frame.number:
            case 602 | 601:
                return self._open(frame), "", b""
            case 673:
                self._close(frame.integer("l1descInx"), status=GOOD)
            case 674:
                opened = self._at(frame)
                offset = os.lseek(opened.file, frame.integer("offset"), frame.integer("whence"))
                return 0, element("fileLseekOut_PI", offset=offset), b""
            case 675:
                wanted = frame.integer("len")
                data = os.read(self._at(frame).file, max(1, wanted // 3) if lie else wanted)
                return len(data), "", data
            case 676:
                return os.write(self._at(frame).file, frame.data), "", b""
            case 615:
                self._store.unlink(frame.text("objPath"))
            case 627:
                source, target = frame.parts("DataObjInp_PI")
                self._store.rename(source.text("objPath"), target.text("objPath"))
            case 629:
                return 0, element("STR_PI", myStr=self._checksum(frame, lie)), b""
            case 681:
                self._store.make_collection(frame.text("collName"), recursive="recursiveOpr" in frame.keyed())
            case 696:
                self._copy(frame)
            case 702:
                return 0, self._queries.answer(frame), b""
            case _:
                raise Refused(UNKNOWN_CALL)
        return 0, "", b""

    def leave(self) -> None:
        """The client has gone: what it was writing is stale."""
        for descriptor in list(self._opened):
            self._close(descriptor, status=STALE)

    def _open(self, frame: Frame) -> int:
        flags, keyed = frame.integer("openFlags"), frame.keyed()
        writing = bool(flags & (os.O_WRONLY | os.O_RDWR))
        row = self._store.open(
            frame.text("objPath"),
            writing=writing,
            create=bool(flags & os.O_CREAT),
            number=keyed.get("replNum", ""),
            resource=keyed.get("destRescName", ""),
        )
        file = os.open(row.file, flags & (os.O_WRONLY | os.O_RDWR))
        return self._keep(Opened(row, file, writing))

    def _keep(self, opened: Opened) -> int:
        descriptor = next(n for n in range(_FIRST_DESCRIPTOR, 1_000_000) if n not in self._opened)
        self._opened[descriptor] = opened
        return descriptor

    def _at(self, frame: Frame) -> Opened:
        try:
            return self._opened[frame.integer("l1descInx")]
        except KeyError:
            raise Refused(BAD_DESCRIPTOR) from None

    def _close(self, descriptor: int, *, status: int) -> None:
        opened = self._opened.pop(descriptor, None)
        if opened is None:
            raise Refused(BAD_DESCRIPTOR)
        size = os.fstat(opened.file).st_size
        os.close(opened.file)
        if opened.writing:
            self._store.close_written(opened.row, size=size, status=status)

    def _checksum(self, frame: Frame, lie: Fault | None) -> str:
        row = self._store.find(frame.text("objPath"))
        if not row.checksum or "forceChksum" in frame.keyed():
            with row.file.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            if lie:
                digest = hashlib.sha256(digest).digest()
            checksum = "sha2:" + base64.b64encode(digest).decode()
            self._store.set_checksum(row, checksum)
            return checksum
        return row.checksum

    def _copy(self, frame: Frame) -> None:
        source, target = frame.parts("DataObjInp_PI")
        path = target.text("objPath")
        row = self._store.find(source.text("objPath"), source.keyed().get("replNum", ""))
        try:
            self._store.find(path)
        except Refused:
            resource = target.keyed().get("destRescName", "")
            made = self._store.open(path, writing=True, create=True, number="", resource=resource)
            shutil.copyfile(row.file, made.file)
            self._store.close_written(made, size=made.file.stat().st_size, status=GOOD)
            return
        raise Refused(EXISTS_AS_OBJECT)
