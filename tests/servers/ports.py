"""Free TCP ports on loopback."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 10_000
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing on 127.0.0.1 listens on and that this process has not handed out before.

    It lies below the range from which the kernel takes the ports of outgoing connections, so that no client's
    connection can occupy it between this call and the server's start.
    """
    for _ in range(200):
        port = random.SystemRandom().randrange(_LOWEST, _first_outgoing_port())
        if port not in _given and _can_listen(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port found in 200 attempts")


def is_listening(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _first_outgoing_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768  # Linux's default
    return first if first > _LOWEST + 1_000 else 32_768


def _can_listen(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
