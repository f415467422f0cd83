"""SFTP over one SSH channel: requests are sent ahead and their replies collected later.

It knows nothing of who speaks SSH. The caller decides how much is under way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from adapters.sftp_messages import Kind, ProtocolBroken, Reply

#: What every server must take (section 3 of the draft: packets of 34,000 bytes), unless it says otherwise.
SMALLEST_TRANSFER_BYTES = 32 * 1024
#: What we ask for at most in one request, even of a server that would take more.
LARGEST_TRANSFER_BYTES = 255 * 1024
#: No reply is longer than a block of data or a batch of names; anything else is not SFTP.
MAX_PACKET_BYTES = 1024 * 1024

_FLUSH_BYTES = 32 * 1024


class Channel(Protocol):
    """What carries SFTP: raises TimeoutError when no byte moved within its time limit, and others when it broke.

    ``in_flight_bytes`` is what one stream may have requested and not yet consumed, or sent and not yet acknowledged.
    """

    in_flight_bytes: int

    def send(self, parts: Sequence[memoryview]) -> int:
        """How many of the first bytes of the parts, none of which is empty, were taken; 0 when it was closed."""

    def recv(self, wanted: int) -> bytes:
        """At least one byte, and more than wanted if it is there; none when the channel was closed."""


class SftpWire:
    """The client's end of one SFTP channel, for one thread at a time.

    ``ask`` and the methods named after requests send nothing by themselves and return a ticket; ``gather`` sends
    what was asked and returns the replies to its tickets, in that order, however the server ordered them. A ticket
    whose reply is of no interest is given to ``forget``. Once ``usable`` is false the connection is in an unknown
    state and must be closed. Raises what the channel raises, EOFError when it was closed, and ProtocolBroken.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.in_flight_bytes = channel.in_flight_bytes
        self._outbox = bytearray()
        self._inbox = memoryview(b"")
        self._next_ticket = 0
        self._arrived: dict[int, Reply] = {}
        self._forgotten: set[int] = set()
        self.usable = True
        self.read_bytes = self.write_bytes = SMALLEST_TRANSFER_BYTES
        self.extensions = self._greet()
        if "limits@openssh.com" in self.extensions:
            self._learn_limits()

    def gather(self, *tickets: int) -> list[Reply]:
        """The replies to ``tickets``; an error status is a reply like any other."""
        with self._all_or_unusable():
            self._flush()
            return [self._receive(ticket) for ticket in tickets]

    def reply(self, ticket: int) -> Reply:
        return self.gather(ticket)[0]

    def send(self) -> None:
        """Send what was asked without waiting for any reply."""
        self.gather()

    def forget(self, *tickets: int) -> None:
        """Drop the replies whenever they come."""
        for ticket in tickets:
            if self._arrived.pop(ticket, None) is None:
                self._forgotten.add(ticket)

    def ask(self, kind: Kind, *fields: bytes | int) -> int:
        """Queue a request: bytes become strings with a length, integers 32 bits."""
        body = b"".join(struct.pack(">I", len(f)) + f if isinstance(f, bytes) else struct.pack(">I", f) for f in fields)
        return self._queue(kind, body)

    def open(self, path: bytes, flags: int) -> int:
        return self.ask(Kind.OPEN, path, flags, 0)

    def read(self, handle: bytes, offset: int, length: int) -> int:
        return self._queue(Kind.READ, struct.pack(">I", len(handle)) + handle + struct.pack(">QI", offset, length))

    def write(self, handle: bytes, offset: int, *data: memoryview) -> int:
        """At most ``write_bytes``, in pieces: a few are copied and queued, many go out at once from where they are."""
        count = sum(map(len, data))
        head = struct.pack(">I", len(handle)) + handle + struct.pack(">QI", offset, count)
        ticket = self._queue(Kind.WRITE, head, count)
        if count < _FLUSH_BYTES:
            self._outbox += b"".join(data)
        else:
            with self._all_or_unusable():
                self._flush(*data)
        return ticket

    def extended(self, name: str, *fields: bytes) -> int:
        return self.ask(Kind.EXTENDED, name.encode(), *fields)

    @contextmanager
    def _all_or_unusable(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # Whatever interrupts a packet, even Ctrl-C, leaves the stream at a place nobody knows.
            self.usable = False
            raise

    def _greet(self) -> dict[str, bytes]:
        self._outbox += struct.pack(">IBI", 5, Kind.INIT, 3)
        self._flush()
        greeting, _ = self._packet()
        if greeting.kind != Kind.VERSION:
            raise ProtocolBroken("the server's greeting is not SFTP's")
        return greeting.pairs()

    def _learn_limits(self) -> None:
        limits = self.reply(self.extended("limits@openssh.com"))
        _, largest_read, largest_write, _ = limits.numbers(">QQQQ")
        # Zero means that the server has no limit that it could name.
        self.read_bytes = min(largest_read or SMALLEST_TRANSFER_BYTES, LARGEST_TRANSFER_BYTES)
        self.write_bytes = min(largest_write or SMALLEST_TRANSFER_BYTES, LARGEST_TRANSFER_BYTES)

    def _queue(self, kind: Kind, head: bytes, more_bytes: int = 0) -> int:
        """``more_bytes`` of the packet are still to come."""
        self._next_ticket = ticket = (self._next_ticket + 1) & 0xFFFFFFFF
        self._outbox += struct.pack(">IBI", 5 + len(head) + more_bytes, kind, ticket)
        self._outbox += head
        return ticket

    def _flush(self, *data: memoryview) -> None:
        """Send what is queued, and ``data`` behind it."""
        queued, self._outbox = memoryview(self._outbox), bytearray()
        parts = [part for part in (queued, *data) if part]
        while parts:
            sent = self._channel.send(parts)
            if not sent:
                raise EOFError("the server closed the connection")
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if sent:
                parts[0] = parts[0][sent:]

    def _receive(self, wanted: int) -> Reply:
        while wanted not in self._arrived:
            reply, ticket = self._packet()
            if ticket in self._forgotten:
                self._forgotten.discard(ticket)
            else:
                self._arrived[ticket] = reply
        return self._arrived.pop(wanted)

    def _packet(self) -> tuple[Reply, int]:
        """A reply and its ticket; a greeting has its version there."""
        length, kind, ticket = struct.unpack(">IBI", self._take(9))
        if not 5 <= length <= MAX_PACKET_BYTES:
            raise ProtocolBroken(f"a packet of {length} bytes is not SFTP's; does the login print something?")
        rest = length - 5
        if kind != Kind.DATA:
            return Reply(kind, self._take(rest)), ticket
        # To take out by itself what most bytes belong to spares cutting it out of the packet, which would copy it.
        (count,) = struct.unpack(">I", self._take(4))
        if count > rest - 4:
            raise ProtocolBroken("a packet is shorter than its fields")
        reply = Reply(kind, self._take(count))
        self._take(rest - 4 - count)
        return reply, ticket

    def _take(self, count: int) -> bytes:
        pieces = []
        while count:
            if not self._inbox:
                self._inbox = memoryview(self._channel.recv(count))
                if not self._inbox:
                    raise EOFError("the server closed the connection")
            piece, self._inbox = self._inbox[:count], self._inbox[count:]
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)
