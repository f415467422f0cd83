"""A stand-in SFTP server made of paramiko, for two things that a real OpenSSH cannot show without changing the system.

It takes a password, for which sshd would need a system user who has one, and its rename overwrites what is there,
which OpenSSH refuses. It keeps nothing: its files are those of a folder that the caller gives.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Self

import paramiko
from paramiko.sftp_server import SFTPServer

USER, PASSWORD = "stand-in", "correct horse"


class _Door(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        let_in = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if let_in else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Files(paramiko.SFTPServerInterface):
    """Plain calls of the operating system; an OSError becomes the status that SFTP has for it."""

    def __init__(self, server: paramiko.ServerInterface, root: Path) -> None:
        super().__init__(server)
        self._root = root

    def canonicalize(self, path: str) -> str:
        return os.path.realpath(self._root / path)

    def list_folder(self, path):
        return self._answer(lambda: [self._look(Path(path) / name) for name in os.listdir(path)])

    def stat(self, path):
        return self._answer(lambda: paramiko.SFTPAttributes.from_stat(os.stat(path)))

    def lstat(self, path):
        return self._answer(lambda: paramiko.SFTPAttributes.from_stat(os.lstat(path)))

    def remove(self, path):
        return self._answer(lambda: os.remove(path))

    def rename(self, oldpath, newpath):
        return self._answer(lambda: os.replace(oldpath, newpath))

    def posix_rename(self, oldpath, newpath):
        return self._answer(lambda: os.replace(oldpath, newpath))

    def open(self, path, flags, attr):
        def opened() -> _Handle:
            handle = _Handle(flags)
            mode = "r+b" if flags & os.O_WRONLY else "rb"
            handle.readfile = handle.writefile = os.fdopen(os.open(path, flags & ~os.O_WRONLY | os.O_RDWR, 0o600), mode)
            return handle

        return self._answer(opened)

    def _look(self, path: Path) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.lstat(path), path.name)

    def _answer(self, deed):
        try:
            found = deed()
        except OSError as exc:
            return paramiko.SFTPServer.convert_errno(exc.errno)
        return paramiko.SFTP_OK if found is None else found


class StandIn:
    """``with StandIn(folder) as server``: listening on ``port`` of loopback with the host key ``host_key``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._key = paramiko.ECDSAKey.generate()
        self.host_key = f"{self._key.get_name()} {self._key.get_base64()}"
        self._transports: list[paramiko.Transport] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._listener.close()
        for transport in self._transports:
            transport.close()
            transport.join(timeout=10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # The listener was shut down.
            transport = paramiko.Transport(connection)
            transport.set_log_channel("adapters.sftp.paramiko")
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", SFTPServer, _Files, self.root)
            transport.start_server(event=threading.Event(), server=_Door())
            self._transports.append(transport)
