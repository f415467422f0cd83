"""A running ssh: a socket to and from it, the end of what it says, and nothing of it left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from adapters import cores
from adapters.sftp_program import PATH

#: How much of what ssh says is kept: the end of it.
_KEPT_BYTES = 4096
#: As much as the system allows of it, both ways: fewer turns of ours and of ssh's for the same bytes.
_BUFFER_BYTES = 1024 * 1024
#: How long is waited for a process that was killed.
_END_S = 10.0


class SshEnded(EOFError):
    """The ssh program ended; ``lines`` are the last that it said, the server's greeting perhaps among them."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[-1] if lines else "the ssh program ended without a word")
        self.lines = tuple(lines)

    def line_with(self, words: str) -> str | None:
        """The last line in which ssh said this."""
        return next((line for line in reversed(self.lines) if words in line), None)


class SshProcess:
    """A running ssh whose standard input and output are ``near``.

    It is in a session of its own, so that no Ctrl-C reaches it and no terminal is asked, and it inherits neither our
    environment nor our descriptors. A thread keeps the end of what it says and waits for its end, so that it is never
    a zombie for longer than a moment; it ends by itself when this process does, because its input does.
    """

    def __init__(self, words: list[str]) -> None:
        near, far = socket.socketpair()
        for end in (near, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        with far:
            try:
                self._process = subprocess.Popen(
                    words,
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    stderr=subprocess.PIPE,
                    env={"PATH": PATH, "LC_ALL": "C"},
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                near.close()
                raise
        cores.release(self._process.pid)
        self.near = near
        self._owner = os.getpid()
        self._said = b""
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="sftp-ssh", daemon=True)
        self._watcher.start()

    @property
    def is_running(self) -> bool:
        return self._owner == os.getpid() and self._watcher.is_alive()

    def ended(self) -> SshEnded:
        """Why nothing comes any more. ssh closes its output a moment before it says why, and ends."""
        self._watcher.join(1.0)
        lines = (" ".join(line.split()) for line in self._said.decode("utf-8", "replace").splitlines())
        return SshEnded(["".join(filter(str.isprintable, line))[:300] for line in lines if line])

    def shut_down(self) -> None:
        """End it from any thread; whoever waits at ``near`` wakes up. A process that was forked off ends nothing."""
        if self._owner != os.getpid():
            return
        with suppress(OSError):  # It was shut down before.
            self.near.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if self._process.returncode is None:
                self._process.kill()

    def close(self) -> None:
        """End it, and return when it is gone. Idempotent."""
        self.shut_down()
        self._watcher.join(_END_S)
        self.near.close()

    def _watch(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            while words := os.read(stderr.fileno(), _KEPT_BYTES):
                self._said = (self._said + words)[-_KEPT_BYTES:]
        with suppress(ChildProcessError):  # Somebody who waits for any child took it.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        # Its number is free for others from here on, so that nobody may send it a signal meanwhile.
        with self._lock:
            self._process.wait()
