"""What the tests of all storages behind an HTTP server begin with, and how their steps are told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from adapters.base import CheckStep
from adapters.errors import AdapterError
from adapters.web_connection import WebConnection
from adapters.web_errors import translated
from adapters.web_settings import Origin


class Trial(NamedTuple):
    """One step: what is tried, returning what was found, and what to do where it fails."""

    step: str
    attempt: Callable[[], str]
    remedy: str


def run(trials: Sequence[Trial]) -> list[CheckStep]:
    """The steps in their order, up to the first that fails."""
    steps: list[CheckStep] = []
    for trial in trials:
        try:
            steps.append(CheckStep(trial.step, True, trial.attempt()))
        except AdapterError as exc:
            found = f"{exc.summary} ({exc.detail})" if exc.detail else exc.summary
            return [*steps, CheckStep(trial.step, False, f"{found}; {trial.remedy}")]
    return steps


def reach(origin: Origin) -> tuple[Trial, ...]:
    """The steps that find the server and connect to it."""
    return (
        Trial(
            "resolve",
            lambda: _resolve(origin),
            "check the host in the url, and that this machine's name server knows it",
        ),
        Trial(
            "connect",
            lambda: _connect(origin),
            "check the port in the url, that an HTTP server runs there, and that no firewall lies in between",
        ),
    )


def _resolve(origin: Origin) -> str:
    with translated(origin.storage):
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return f"{origin.host} is {', '.join(sorted({str(address[0]) for *_, address in found}))}"


def _connect(origin: Origin) -> str:
    with translated(origin.storage):
        WebConnection(origin).close()
    if origin.tls is not None:
        return f"port {origin.port} accepts connections, and its certificate is trusted"
    if origin.authorization:
        return f"port {origin.port} accepts connections; without TLS, our credential can be read on the way"
    return f"port {origin.port} accepts connections, without TLS"
