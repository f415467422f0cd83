"""A gfal2 process from our side: started, asked one thing at a time, and killed when it does not answer in time."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters import gfal_library
from adapters.errors import Offline
from adapters.gfal_credential import CredentialFile
from adapters.gfal_errors import GfalMissing, ProcessEnded, ProcessStalled, is_harmless
from adapters.gfal_frames import Head, receive, send
from adapters.gfal_library import GfalError, Look
from adapters.gfal_settings import Endpoint

#: Debian's packages: the library, and the plugin for each kind of storage.
APT = "apt-get install libgfal2-2 gfal2-plugin-{plugin}"
_GFALS_OWN_LIMIT_S = 7 * 86_400
#: Orders of an open file. Where one fails, gfal2 2.21 does not wait for Globus to end the transfer, which may call back
#: into memory that gfal2 has given up: then what is asked next is refused, aborts, or is never answered.
_TRANSFERS = {"open", "read", "write", "close"}
#: What an operator may set for gfal2 itself; nothing else of our environment is passed on.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "GFAL_PLUGIN_DIR", "GFAL_CONFIG_DIR", "GLOBUS_TCP_PORT_RANGE", "TMPDIR")


class GfalProcess:
    """A process that has gfal2, and a session at the server once it was asked for something there.

    It belongs to one thread at a time. Making one raises GfalMissing where gfal2 or its plugin is not installed.
    ``intact`` turns false once a call failed in a way after which nothing is certain.
    """

    def __init__(self, endpoint: Endpoint, credential: CredentialFile) -> None:
        self.endpoint = endpoint
        self.intact = True
        self.idle_since = time.monotonic()
        environment = _environment(endpoint, credential)
        self._line, far = socket.socketpair()
        with far:
            self._popen = _start(far, environment)
        try:
            self.plugins = self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._popen.pid

    def enter_root(self) -> None:
        """Log in, within ``connect_timeout_s``. Raises Offline where the root is no folder, and what ``ask`` raises."""
        endpoint = self.endpoint
        try:
            head, _ = self.ask("stat", url=endpoint.url(), limit_s=endpoint.connect_timeout_s)
        except GfalError as exc:
            if is_harmless(exc):
                # As when its file system is not mounted: the objects may all be there, so this must not be NotFound.
                detail = f"the root {endpoint.root!r} cannot be read on the server: {exc.text.strip()[:200]}"
                raise Offline(detail, storage=endpoint.storage) from exc
            raise
        if not _is_folder(Look(*head["look"])):
            raise Offline(f"the root {endpoint.root!r} is not a folder on the server", storage=endpoint.storage)

    @property
    def usable(self) -> bool:
        """Whether the process is there and may be used again; asks nobody."""
        return self.intact and self._popen.poll() is None

    def answers(self) -> bool:
        """Whether the server still answers; costs one round trip."""
        if self.usable:
            try:
                self.look(self.endpoint.url())
            except (GfalError, ProcessEnded, ProcessStalled):
                return False
        return self.intact

    def look(self, url: str) -> Look:
        """What the server says of a name; raises GfalError (ENOENT) where there is none."""
        return Look(*self.ask("stat", url=url)[0]["look"])

    def names(self, url: str) -> Iterator[tuple[str, Look]]:
        """Every name in a folder, with what the server says of it; to be gone through to its end."""
        head, _ = self.ask("list", url=url)
        while True:
            for name, look in head["entries"]:
                yield name, Look(*look)
            if not head["more"]:
                return
            head, _ = self._receive(self.endpoint.stall_timeout_s)

    def ask(
        self,
        order: str,
        *,
        body: bytes | memoryview = b"",
        limit_s: float | None = None,
        goes_on: Callable[[], bool] = lambda: False,
        **words: object,
    ) -> tuple[Head, memoryview]:
        """One order of ``gfal_process`` and its answer, within ``limit_s`` seconds (``stall_timeout_s``).

        After each such time without an answer ``goes_on`` is asked whether to wait on. Raises GfalError,
        ProcessStalled and ProcessEnded; after the last two the process is gone.
        """
        limit_s = limit_s or self.endpoint.stall_timeout_s
        self._send({"order": order, **words}, limit_s, body)
        while not self._is_readable(limit_s):
            if not goes_on():
                raise self._stalled(limit_s)
        try:
            return self._receive(limit_s)
        except GfalError:
            self.intact = self.intact and order not in _TRANSFERS
            raise

    def close(self) -> None:
        """End it. Idempotent; it is killed, because nothing in it needs an end and gfal2's own may abort or hang."""
        self.intact = False
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        self._line.close()  # Only now: a process whose line ends while it lives takes us for dead.

    def _begin(self) -> list[str]:
        endpoint = self.endpoint
        apt = APT.format(plugin=endpoint.plugin)
        options = [
            ("GRIDFTP PLUGIN", "SESSION_REUSE", True),
            ("BDII", "ENABLED", False),  # No address but the one that was registered.
            # Time limits are ours, by killing the process; gfal2's own are to end nothing before.
            ("CORE", "NAMESPACE_TIMEOUT", _GFALS_OWN_LIMIT_S),
            ("CORE", "CHECKSUM_TIMEOUT", _GFALS_OWN_LIMIT_S),
        ]
        start = {"library": gfal_library.LIBRARY, "options": options}
        self._send(start, endpoint.connect_timeout_s)
        head, _ = self._receive(endpoint.connect_timeout_s)
        if "missing" in head:
            raise GfalMissing(f"gfal2 cannot be loaded on this machine ({head['missing']}); as root: {apt}")
        plugins = [str(plugin) for plugin in head["plugins"]]
        if not any(plugin.startswith(f"{endpoint.plugin}-") for plugin in plugins):
            found = ", ".join(plugins) or "none"
            raise GfalMissing(
                f"gfal2's plugin {endpoint.plugin} is missing on this machine (it has {found}); as root: {apt}"
            )
        return plugins

    def _send(self, head: Head, limit_s: float, body: bytes | memoryview = b"") -> None:
        self._line.settimeout(limit_s)
        try:
            send(self._line, head, body)
        except TimeoutError as exc:
            raise self._stalled(limit_s) from exc
        except OSError as exc:
            raise self._ended() from exc

    def _receive(self, limit_s: float) -> tuple[Head, memoryview]:
        self._line.settimeout(limit_s)
        try:
            head, body = receive(self._line)
        except TimeoutError as exc:
            raise self._stalled(limit_s) from exc
        except (EOFError, OSError) as exc:
            raise self._ended() from exc
        if "error" in head:
            error = GfalError(*head["error"])
            self.intact = self.intact and is_harmless(error)
            raise error
        return head, body

    def _is_readable(self, limit_s: float) -> bool:
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        return bool(poll.poll(limit_s * 1000))

    def _stalled(self, limit_s: float) -> ProcessStalled:
        self.close()
        return ProcessStalled(f"gfal2 gave no answer within {limit_s:g} s")

    def _ended(self) -> ProcessEnded:
        # Its line is gone and the process may still be ending; whoever reads of it wants to know how it did.
        try:
            status: int | None = self._popen.wait(1)
        except subprocess.TimeoutExpired:
            status = None
        self.close()
        if status is None or status >= 0:
            return ProcessEnded("the gfal2 process ended")
        return ProcessEnded(f"the gfal2 process was ended by {signal.Signals(-status).name}")


def _start(line: socket.socket, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-S", "-P", "-m", "adapters.gfal_process"],
        stdin=line.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,  # A Ctrl-C is for us, and this ends when its line does.
    )


def _environment(endpoint: Endpoint, credential: CredentialFile) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "LC_ALL": "C.UTF-8",
        "X509_USER_PROXY": str(credential.path()),
        "X509_CERT_DIR": endpoint.ca_folder,
        # The server must show the name that was registered, not the one that its address is looked up to have.
        "GLOBUS_GSSAPI_NAME_COMPATIBILITY": "STRICT_RFC2818",
    }


def _is_folder(look: Look) -> bool:
    return (look.mode & 0o170000) == 0o040000
