"""What refused clients still send: one thread listens to many of them, so that they read their answer and no reset."""

import contextlib
import select
import socket
import threading
import time

_AT_ONCE = 256 * 1024


class Leftovers:
    """Connections whose answer is out, and whose clients may go on sending for ``seconds``; at ``most`` so many."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None
        self._open: dict[int, tuple[socket.socket, float]] = {}

    def take(self, connection: socket.socket) -> bool:
        """Throw away what comes until the client is done or its time is up, then close.

        False where there are too many; the connection is the caller's then.
        """
        with self._lock:
            if len(self._open) >= self._most:
                return False
            self._open[connection.fileno()] = connection, time.monotonic() + self._seconds
            if self._epoll is None:
                self._epoll = select.epoll()
                threading.Thread(target=self._listen, args=(self._epoll,), name="leftovers", daemon=True).start()
            self._epoll.register(connection.fileno(), select.EPOLLIN)
        with contextlib.suppress(OSError):  # The client is gone already.
            connection.shutdown(socket.SHUT_WR)
        return True

    def _listen(self, epoll: select.epoll) -> None:
        """Ends, and leaves nothing open, once there is nobody to listen to."""
        buffer = bytearray(_AT_ONCE)
        while True:
            ended = [fd for fd, _ in epoll.poll(0.5) if self._has_ended(fd, buffer)]
            with self._lock:
                now = time.monotonic()
                for fd in {*ended, *(fd for fd, (_, until) in self._open.items() if until < now)}:
                    epoll.unregister(fd)
                    self._open.pop(fd)[0].close()
                if not self._open:
                    self._epoll = None
                    epoll.close()
                    return

    def _has_ended(self, fd: int, buffer: bytearray) -> bool:
        try:
            return not self._open[fd][0].recv_into(buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
