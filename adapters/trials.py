"""What the checks of several kinds of storage try alike."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AdapterError, AlreadyExists, Offline


def run(remedies: Mapping[str, str], attempt: Callable[[Callable[[str], None]], None]) -> list[CheckStep]:
    """The steps of a check, named in their order, each with what to do where it fails.

    ``attempt`` tells what it was given whenever a step has passed, and raises AdapterError where one fails.
    """
    names = list(remedies)
    steps: list[CheckStep] = []

    def passed(found: str) -> None:
        steps.append(CheckStep(names[len(steps)], True, found))

    try:
        attempt(passed)
    except AdapterError as exc:
        step = names[len(steps)]
        steps.append(CheckStep(step, False, f"{exc.detail or exc.summary}; {remedies[step]}"))
    return steps


def resolve(host: str, port: int, *, storage: str) -> str:
    """Say which addresses a server has. Raises Offline."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise Offline(f"{host}: {exc}", storage=storage) from exc
    return f"{host} is {', '.join(str(address[0]) for *_, address in found)}"


def store(adapter: Adapter, key: str, data: bytes, mode: WriteMode = WriteMode.CREATE) -> None:
    """Write an object whole."""
    with adapter.open_write(key, size=len(data), mode=mode) as session:
        session.write(data)
        session.publish()


def refuse_overwriting(adapter: Adapter, late: str) -> None:
    """A CREATE that comes too late meets the name when it is renamed and not before: the server itself must refuse.

    ``late`` is the token of a suspended CREATE of a key that has been taken since.
    """
    try:
        with adapter.resume_write(late) as session:
            session.publish()
    except AlreadyExists:
        return
    raise AdapterError("the server renames onto an existing name instead of refusing it", storage=adapter.name)
