"""Refused clients that go on sending are listened to, for a while, and leave nothing behind."""

import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.data.leftovers import Leftovers
from tests.servers.process import wait_until

SENT = b"x" * 5_000_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    client.settimeout(10)
    yield client, server
    client.close()
    server.close()


def threads() -> int:
    return sum(thread.name == "leftovers" for thread in threading.enumerate())


def test_a_client_may_send_all_and_then_reads_its_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"the answer")
    assert Leftovers(most=1, seconds=10).take(server)
    client.sendall(SENT)
    client.shutdown(socket.SHUT_WR)
    assert (client.recv(100), client.recv(100)) == (b"the answer", b"")
    wait_until(lambda: server.fileno() == -1 and not threads(), what="the connection and the thread have ended")


def test_a_client_that_does_not_end_is_cut_off_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    assert Leftovers(most=1, seconds=0.1).take(server)
    wait_until(lambda: server.fileno() == -1, what="the connection is closed")
    with pytest.raises(BrokenPipeError):
        client.sendall(SENT)


def test_no_more_are_listened_to_than_it_may(pair: tuple[socket.socket, socket.socket]) -> None:
    leftovers = Leftovers(most=1, seconds=10)
    assert leftovers.take(pair[1])
    client, server = socket.socketpair()
    with client, server:
        assert not leftovers.take(server)
        pair[0].close()
        wait_until(lambda: not threads(), what="the first has ended")
        assert leftovers.take(server)
        client.close()
        wait_until(lambda: not threads(), what="the second has ended")
