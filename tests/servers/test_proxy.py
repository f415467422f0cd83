"""The proxy of the network tests passes everything, until it is told to lose the line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.servers.proxy import CuttingProxy


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    """A proxy before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with CuttingProxy(listener.getsockname()[1]) as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        server.join(timeout=10)


def connect(proxy: CuttingProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def received(line: socket.socket) -> bytes:
    """All that comes before the line ends, however it ends."""
    data = bytearray()
    with suppress(ConnectionResetError):
        while piece := line.recv(65536):
            data += piece
    return bytes(data)


def test_everything_passes_in_both_directions(proxy: CuttingProxy) -> None:
    data = bytes(range(256)) * 4096
    with connect(proxy) as line:
        sender = threading.Thread(target=lambda: (line.sendall(data), line.shutdown(socket.SHUT_WR)))
        sender.start()
        assert received(line) == data
        sender.join(timeout=10)


def test_line_is_cut_at_the_byte_and_refused_from_then_on(proxy: CuttingProxy) -> None:
    with connect(proxy) as line:
        line.sendall(b"12345")
        assert line.recv(5) == b"12345"
        proxy.cut_after(8)
        line.sendall(b"12345")
        assert b"12345".startswith(received(line))
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.restore()
    with connect(proxy) as line:
        line.sendall(b"again")
        assert line.recv(5) == b"again"


def test_stalled_line_passes_nothing_until_it_is_restored(proxy: CuttingProxy) -> None:
    with connect(proxy) as line:
        line.sendall(b"1")
        assert line.recv(1) == b"1"
        proxy.stall()
        line.sendall(b"2")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(10)
        proxy.restore()
        assert line.recv(1) == b"2"


def test_refusal_cuts_what_is_open(proxy: CuttingProxy) -> None:
    with connect(proxy) as line:
        line.sendall(b"1")
        assert line.recv(1) == b"1"
        proxy.refuse()
        assert received(line) == b""
