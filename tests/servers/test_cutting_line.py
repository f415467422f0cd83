"""The cutting line cuts the armed connection at the byte that was asked for, and no other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.servers.cutting_line import Anchor, Cut, CuttingLine, Direction, Gauge, How

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
REQUEST, RESPONSE = Direction.REQUEST, Direction.RESPONSE


@pytest.fixture
def line() -> Iterator[CuttingLine]:
    """A line before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with CuttingLine(listener.getsockname()[1]) as line:
            yield line
        listener.shutdown(socket.SHUT_RDWR)


def connect(line: CuttingLine) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=10)


def received(end: socket.socket) -> tuple[bytes, bool]:
    """All that comes before the line ends, and whether it ended by a reset."""
    data = bytearray()
    try:
        while piece := end.recv(65536):
            data += piece
    except ConnectionResetError:
        return bytes(data), True
    return bytes(data), False


@pytest.mark.parametrize(
    ("anchor", "count", "room"),
    [
        (Anchor.WIRE, 0, 0),
        (Anchor.WIRE, 1, 1),
        (Anchor.HEAD, 0, len(INTERIM)),
        (Anchor.HEAD, 7, len(INTERIM) + 7),
        (Anchor.BODY, -1, len(INTERIM + HEAD) - 1),
        (Anchor.BODY, 0, len(INTERIM + HEAD)),
        (Anchor.BODY, 5, len(INTERIM + HEAD) + 5),
        (Anchor.BODY, 6, None),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_gauge_finds_the_cut_however_the_bytes_come(anchor: Anchor, count: int, room: int | None, step: int) -> None:
    gauge, data = Gauge(Cut(RESPONSE, anchor, count, How.FIN)), INTERIM + HEAD + b"12345"
    passed = 0
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        found = gauge.room(piece)
        if found is not None:
            # A cut within a head cannot be told before what it counts from has come.
            assert passed + found == (room if anchor is not Anchor.HEAD and count >= 0 else max(passed, room or 0))
            return
        passed += len(piece)
    assert room is None


@pytest.mark.parametrize("how", [How.FIN, How.RST])
def test_the_armed_connection_ends_at_the_byte_and_the_next_passes(line: CuttingLine, how: How) -> None:
    line.arm(Cut(RESPONSE, Anchor.WIRE, 3, how))
    with connect(line) as first, connect(line) as second:
        first.sendall(b"12345")
        data, is_reset = received(first)
        assert b"123".startswith(data)
        assert is_reset == (how is How.RST)
        assert line.reached.wait(10)
        second.sendall(b"12345")
        assert second.recv(5) == b"12345"


def test_a_cut_of_one_direction_leaves_the_other(line: CuttingLine) -> None:
    line.arm(Cut(REQUEST, Anchor.WIRE, 3, How.HALF))
    with connect(line) as end:
        end.sendall(b"12345")
        assert received(end) == (b"123", False)


def test_what_is_held_comes_whole_once_it_is_let_go(line: CuttingLine) -> None:
    line.arm(Cut(REQUEST, Anchor.WIRE, 3, How.HOLD))
    with connect(line) as end:
        end.sendall(b"12345")
        assert line.reached.wait(10)
        assert end.recv(3) == b"123"
        end.settimeout(0.1)
        with pytest.raises(TimeoutError):
            end.recv(1)
        end.settimeout(10)
        line.let_go()
        assert end.recv(2, socket.MSG_WAITALL) == b"45"
