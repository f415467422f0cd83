"""The messages of SFTP version 3 and how a reply is read.

The protocol is draft-ietf-secsh-filexfer-02; what ends in ``@openssh.com`` is in OpenSSH's PROTOCOL file.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """Packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """What a STATUS says."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


READ, WRITE, CREATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x20


class SftpStatus(Exception):
    """The server answered a request with an error; the connection is as good as before."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ProtocolBroken(Exception):
    """The server sent what SFTP does not allow; nothing more can be read from the connection."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says of a file; ``modified_s`` counts whole seconds since 1970."""

    size: int
    mode: int
    modified_s: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Reply:
    """One reply; each method reads it as what was hoped for, or raises the SftpStatus that came instead.

    ``body`` is what is behind the ticket, and of DATA the bytes alone.
    """

    def __init__(self, kind: int, body: bytes) -> None:
        self.kind = kind
        self._body = body
        self._at = 0

    def ok(self) -> None:
        self._expect(Kind.STATUS)

    def handle(self) -> bytes:
        self._expect(Kind.HANDLE)
        return self._string()

    def data(self) -> bytes:
        self._expect(Kind.DATA)
        return self._body

    def path(self) -> bytes:
        """The one name of a REALPATH."""
        self._expect(Kind.NAME)
        if self._int() != 1:
            raise ProtocolBroken("a path was resolved to several names")
        return self._string()

    def names(self) -> list[tuple[bytes, Attributes]]:
        """The entries of a READDIR."""
        self._expect(Kind.NAME)
        entries = []
        for _ in range(self._int()):
            name = self._string()
            self._string()  # the line of `ls -l`, for people
            entries.append((name, self._attributes()))
        return entries

    def attributes(self) -> Attributes:
        self._expect(Kind.ATTRS)
        return self._attributes()

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The body of an extension's reply as fixed fields."""
        self._expect(Kind.EXTENDED_REPLY)
        return self._unpack(layout)

    def pairs(self) -> dict[str, bytes]:
        """What is left, as names and their values."""
        found = {}
        while self._at < len(self._body):
            name = self._string().decode("utf-8", "replace")
            found[name] = self._string()
        return found

    def _expect(self, kind: Kind) -> None:
        if self.kind == Kind.STATUS:
            code = self._int()
            if code or kind != Kind.STATUS:
                message = self._string().decode("utf-8", "replace") if self._at < len(self._body) else ""
                raise SftpStatus(code, message)
        elif self.kind != kind:
            raise ProtocolBroken(f"a packet of type {self.kind} came where {kind.name} was due")

    def _attributes(self) -> Attributes:
        (flags,) = self._unpack(">I")
        size = self._unpack(">Q")[0] if flags & 0x1 else 0
        if flags & 0x2:
            self._unpack(">II")
        mode = self._int() if flags & 0x4 else 0
        modified_s = self._unpack(">II")[1] if flags & 0x8 else 0
        if flags & 0x80000000:
            for _ in range(self._int()):
                self._string()
                self._string()
        return Attributes(size, mode, modified_s)

    def _int(self) -> int:
        return int(self._unpack(">I")[0])

    def _string(self) -> bytes:
        length = self._int()
        start, self._at = self._at, self._at + length
        if self._at > len(self._body):
            raise ProtocolBroken("a packet is shorter than its fields")
        return self._body[start : self._at]

    def _unpack(self, layout: str) -> tuple[int, ...]:
        try:
            fields = struct.unpack_from(layout, self._body, self._at)
        except struct.error as exc:
            raise ProtocolBroken("a packet is shorter than its fields") from exc
        self._at += struct.calcsize(layout)
        return fields
