"""Departures: notices clients that hang up while they wait, so that their threads are not kept for nobody."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Departures:
    """One thread watches the connections of all who wait; it is started with the first of them.

    A client that closes only its sending half counts as gone, as it does for nginx.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, Callable[[], None]] = {}
        self._poll: select.epoll | None = None
        self._pid = 0

    @contextlib.contextmanager
    def watch(self, environ: Mapping[str, Any], on_gone: Callable[[], None]) -> Iterator[None]:
        """Call ``on_gone`` once if the request's client hangs up within this block."""
        connection: socket.socket | None = environ.get("gunicorn.socket")
        if connection is None:
            yield
            return
        descriptor = connection.fileno()
        with self._lock:
            poll = self._started()
            self._watched[descriptor] = on_gone
        poll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)
        try:
            yield
        finally:
            with self._lock:
                del self._watched[descriptor]
            poll.unregister(descriptor)

    def _started(self) -> select.epoll:
        if self._poll is None or self._pid != os.getpid():
            self._poll, self._pid = select.epoll(), os.getpid()
            threading.Thread(target=self._run, args=[self._poll], name="departures", daemon=True).start()
        return self._poll

    def _run(self, poll: select.epoll) -> None:
        while True:
            for descriptor, _ in poll.poll():
                with self._lock:
                    on_gone = self._watched.get(descriptor)
                    # What was told may be about an earlier connection of the same number.
                    if on_gone is not None and _has_hung_up(descriptor):
                        on_gone()


def _has_hung_up(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))


DEPARTURES = Departures()
