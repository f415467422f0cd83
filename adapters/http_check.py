"""Trying, step by step, whether files of a plain HTTP server can be read, with the remedy for each step that fails."""

from __future__ import annotations

from contextlib import suppress

from adapters.base import Adapter, CheckStep
from adapters.errors import AdapterError
from adapters.web_check import Trial, reach, run
from adapters.web_client import WebClient
from adapters.web_errors import HttpRefusal, translated


def check(adapter: Adapter, client: WebClient, probe: str) -> list[CheckStep]:
    """As ``Adapter.check``; reads two bytes of the file ``probe``, or looks only whether our credential is refused."""

    def ask() -> str:
        try:
            with translated(adapter.name), client.asking("HEAD", client.origin.root, 200):
                return "the server answers for the url itself; name a file as `probe` to have reading tried"
        except AdapterError as exc:
            refusal = exc.__cause__
            # Most servers have nothing to show for a folder, and say so by any of these.
            if not isinstance(refusal, HttpRefusal) or refusal.status == 401 or refusal.status >= 500:
                raise
            return f"the server answers ({refusal.status} for the url itself); name a file as `probe` to try reading"

    def read() -> str:
        stat = adapter.stat(probe)
        with adapter.open_read(probe, max(0, stat.size - 2), stat.size, version=stat.version) as stream:
            got = len(stream.read()) if stat.size else 0
        if got != min(2, stat.size):
            raise AdapterError(f"{got} bytes were read of {stat.size}", storage=adapter.name, key=probe)
        ranges = ""
        with suppress(AdapterError), translated(adapter.name):
            path = client.origin.path(probe)
            with client.asking("GET", path, 200, 206, headers={"Range": "bytes=0-0"}) as exchange:
                if exchange.status == 200:
                    ranges = "; the server ignores ranges, so that each part is read from the beginning of its file"
        known = "entity tag" if stat.version.startswith("e:") else "time and size, because the server tells no ETag"
        return f"its last bytes of {stat.size} were read; its version is known by {known}{ranges}"

    last = (
        Trial("read", read, "check the url, the probe and the credential; redirects are followed below the url only")
        if probe
        else Trial("ask", ask, "check the url and the credential")
    )
    return run((*reach(client.origin), last))
