"""The agent of one login, asked by OpenSSH's own ssh-add and by somebody who does not speak its protocol."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sftp_agent import Agent
from adapters.sftp_endpoint import Endpoint
from adapters.sftp_settings import make_endpoint
from tests.servers.process import find_program


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def made_key(folder: Path, kind: str) -> Endpoint:
    """An endpoint with a new key of this kind, whose public half lies in ``<kind>.pub``."""
    program = find_program("ssh-keygen", package="openssh-client")
    subprocess.run([program, "-q", "-t", kind, "-N", "", "-f", str(folder / kind)], check=True, capture_output=True)
    options = {"host": "h", "username": "u", "root": "/"}
    return make_endpoint("files", options, {"private_key": (folder / kind).read_text()})


def signs(path: Path, public: Path) -> bool:
    """Whether the agent at ``path`` proves that it has the private half; ssh-add has it sign, and verifies that."""
    program = find_program("ssh-add", package="openssh-client")
    environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
    ended = subprocess.run([program, "-T", str(public)], env=environment, capture_output=True, timeout=30)
    return ended.returncode == 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_it_signs_with_its_key_and_with_no_other(folder: Path, kind: str) -> None:
    key = made_key(folder, kind).private_key
    other = folder / "other"
    other.mkdir()
    made_key(other, kind)
    assert key is not None
    with Agent(folder / "agent", key):
        assert signs(folder / "agent", folder / f"{kind}.pub")
        assert not signs(folder / "agent", other / f"{kind}.pub")
        assert signs(folder / "agent", folder / f"{kind}.pub")
    assert not signs(folder / "agent", folder / f"{kind}.pub")


@pytest.mark.parametrize(
    "said", [b"", b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x02\x0d\x00", b"\0\0\0\x09\x0d"]
)
def test_who_does_not_speak_its_protocol_is_hung_up_on_and_keeps_nobody_else_out(folder: Path, said: bytes) -> None:
    key = made_key(folder, "ed25519").private_key
    assert key is not None
    with Agent(folder / "agent", key):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(folder / "agent"))
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""
        assert signs(folder / "agent", folder / "ed25519.pub")


def test_it_ends_while_somebody_is_still_connected(folder: Path) -> None:
    key = made_key(folder, "ed25519").private_key
    assert key is not None
    before = threading.active_count()
    with socket.socket(socket.AF_UNIX) as idle:
        with Agent(folder / "agent", key):
            idle.connect(str(folder / "agent"))
        assert threading.active_count() == before
