"""A crowd of readers in one thread: each asks for an object until it is there, and notes when its first byte came."""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.clients import WrongAnswer

#: How long one who polls waits between two requests, as ``curl --retry-delay 1`` does.
POLL_S = 1.0


@dataclass(eq=False)
class _Reader:
    request: bytes
    socket: socket.socket | None = None


@dataclass
class Crowd:
    """Readers of ``paths`` on a local port. Those who do not ``wait`` come again every second, each at its own time."""

    port: int
    paths: Sequence[str]
    wait: bool
    #: When the first byte of each object came, by the clock of the machine, as the catalog's times are.
    first_bytes: list[float] = field(default_factory=list)

    def run(self, *, timeout_s: float = 60) -> None:
        """Return once everybody has the object. Raises WrongAnswer."""
        query = "?wait=60" if self.wait else "?wait=0"
        spread_s = 0.0 if self.wait else POLL_S
        deadline = time.time() + timeout_s
        with selectors.DefaultSelector() as selector:
            due: list[tuple[float, int, _Reader]] = []
            for number, path in enumerate(self.paths):
                request = f"GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                heapq.heappush(due, (time.time() + random.uniform(0, spread_s), number, _Reader(request)))
            while len(self.first_bytes) < len(self.paths):
                now = time.time()
                if now > deadline:
                    raise WrongAnswer(f"{len(self.paths) - len(self.first_bytes)} readers got nothing")
                while due and due[0][0] <= now:
                    self._ask(heapq.heappop(due)[2], selector)
                for key, _ in selector.select(max(0.0, due[0][0] - now) if due else 1.0):
                    reader: _Reader = key.data
                    if not self._hear(reader, selector):
                        again = (time.time() + POLL_S, id(reader), reader)
                        heapq.heappush(due, again)

    def _ask(self, reader: _Reader, selector: selectors.BaseSelector) -> None:
        reader.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        reader.socket.sendall(reader.request)
        selector.register(reader.socket, selectors.EVENT_READ, reader)

    def _hear(self, reader: _Reader, selector: selectors.BaseSelector) -> bool:
        """Whether the answer that begins now is the object."""
        assert reader.socket
        came_at = time.time()
        head = reader.socket.recv(65536)
        status = int(head.split(b" ", 2)[1])
        selector.unregister(reader.socket)
        reader.socket.close()
        if status == 200:
            self.first_bytes.append(came_at)
        elif status != 503 or self.wait:
            raise WrongAnswer(f"a reader was answered {head.decode(errors='replace')}")
        return status == 200
