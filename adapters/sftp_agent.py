"""An ssh-agent for one login: it signs with one private key, which never leaves this process.

The protocol is draft-miller-ssh-agent; of its requests ssh needs two, and everything else is answered with a failure.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import paramiko

_FAILURE = 5
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
#: The digest that an RSA key is used with, by the flag of a request that asks for it.
_RSA_ALGORITHMS = {2: "rsa-sha2-256", 4: "rsa-sha2-512"}
#: What is signed is some hundred bytes long.
_MAX_REQUEST_BYTES = 64 * 1024


class Agent:
    """``with Agent(path, key):`` serves one client after the other at ``path`` until the block ends.

    Whoever may open ``path`` may log in as us: it has to lie in a folder that nobody else may enter.
    """

    def __init__(self, path: Path, key: paramiko.PKey) -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._over = False
        self._client: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(self._path))
            self._listener.listen()
        except BaseException:
            self._listener.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="sftp-agent", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
            for end in (self._listener, self._client):
                with suppress(OSError):  # The client has gone by itself.
                    if end is not None:
                        end.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        # An OSError ends it: the listener was shut down.
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    with self._lock:
                        if self._over:
                            return
                        self._client = client
                    with suppress(OSError, EOFError, struct.error):  # It broke off, or does not speak the protocol.
                        self._answer_all(client)
                    with self._lock:
                        self._client = None

    def _answer_all(self, client: socket.socket) -> None:
        while True:
            (length,) = struct.unpack(">I", _exactly(client, 4))
            if not 1 <= length <= _MAX_REQUEST_BYTES:
                return
            answer = self._answer(_exactly(client, length))
            client.sendall(_string(answer))

    def _answer(self, request: bytes) -> bytes:
        public = self._key.asbytes()
        kind, fields = request[0], _Fields(request[1:])
        if kind == _REQUEST_IDENTITIES:
            return bytes([_IDENTITIES_ANSWER]) + struct.pack(">I", 1) + _string(public) + _string(b"waybill")
        if kind == _SIGN_REQUEST and fields.string() == public:
            data, flags = fields.string(), fields.number()
            signature = self._key.sign_ssh_data(data, self._algorithm(flags))
            return bytes([_SIGN_RESPONSE]) + _string(bytes(signature.asbytes()))
        return bytes([_FAILURE])

    def _algorithm(self, flags: int) -> str | None:
        """None: the only one that the key has."""
        return _RSA_ALGORITHMS.get(flags, "rsa-sha2-512") if self._key.get_name() == "ssh-rsa" else None


class _Fields:
    """The fields of a request, one after the other; raises struct.error where it is shorter than they are."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        (number,) = struct.unpack_from(">I", self._body, self._at)
        self._at += 4
        return int(number)

    def string(self) -> bytes:
        length = self.number()
        (value,) = struct.unpack_from(f">{length}s", self._body, self._at)
        self._at += length
        return bytes(value)


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _exactly(client: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise EOFError("the client has gone")
        data += piece
    return bytes(data)
