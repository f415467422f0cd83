"""A job's wrapper as docs/http.md describes it, on raw sockets or around the real curl: it repeats until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.sweep.cases import BEGUN, Client, Form, framed
from tests.wire.curl import PATIENT, curl
from tests.wire.desk import sha256
from tests.wire.line import Answer, Line, LineCut

#: A wrapper that has not got through by then never does.
PATIENCE_S = 45.0
PAUSE_S = 0.05
#: A stream that broke off is begun anew so often.
RUNS = 3


class GaveUp(Exception):
    """The wrapper ends with a failure, as it must where a stream cannot be sent again."""


@dataclass
class Errand:
    """What a wrapper does: move the file ``data`` in this form.

    ``before_transfer`` and ``after_failure`` are called around each attempt, ``headers`` go with each part of an
    upload. After ``stall_s`` without a byte the raw wrapper hangs up.
    """

    form: Form
    port: int
    path: str
    data: bytes
    folder: Path
    before_transfer: Callable[[], None]
    after_failure: Callable[[], None]
    headers: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = 20
    told: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


class Wrapper(Protocol):
    """Returns what a download brought, nothing of an upload, once it has got through. Raises GaveUp."""

    def __call__(self, errand: Errand) -> bytes | None: ...


def wrapper_for(client: Client) -> Wrapper:
    return by_curl if client is Client.CURL else raw


def raw(errand: Errand) -> bytes | None:
    """On raw sockets, with short pauses."""
    attempts: dict[Form, Callable[[Errand, bytearray], bool]] = {
        Form.GET: _get,
        Form.GET_RANGE: _get_range,
        Form.PUT: lambda errand, _: _stores(errand, _put(errand, {}, errand.data)),
        Form.PUT_STREAM: lambda errand, _: _streams(errand, {}),
        Form.PUT_SUMMED: lambda errand, _: _streams(errand, {"Waybill-Sha256": sha256(errand.data)}),
        Form.RESUME: _resume,
        Form.PATCH: _patch,
        Form.PATCH_STREAM: _patch,
    }
    got = bytearray(errand.data[:BEGUN] if errand.form is Form.GET_RANGE else b"")
    _repeat(errand, lambda: attempts[errand.form](errand, got), pause_s=PAUSE_S)
    return bytes(got) if errand.form.reads else None


def by_curl(errand: Errand) -> bytes | None:
    """Around curl: its own retries where it has all it needs for them, a loop where not."""
    source, target = errand.folder / "source", errand.folder / "target"
    source.write_bytes(errand.data)
    summed = ["-H", f"Waybill-Sha256: {sha256(errand.data)}"]
    plain = ["-fsS", "--speed-limit", "1024", "--speed-time", "10"]
    if errand.form is Form.GET_RANGE:
        target.write_bytes(errand.data[:BEGUN])

    def run(*arguments: str | Path, stdin: bytes = b"") -> bool:
        errand.before_transfer()
        ended = curl(*arguments, errand.url, stdin=stdin)
        errand.told.append(f"exit {ended.exit}, {ended.status}")
        return ended.exit == 0

    def resume() -> bool:
        head = curl("-fsSI", errand.url)
        told = dict(line.split(": ", 1) for line in head.output.decode().splitlines() if ": " in line)
        if told.get("Upload-Complete") == "?1":
            return True
        if "Upload-Offset" in told:
            run(*plain, "-C", told["Upload-Offset"], "-T", source)
        return False

    def stream(*options: str) -> bool:
        if len(errand.told) == RUNS:
            raise GaveUp
        return run(*plain, *options, "-T", "-", stdin=errand.data)

    def tail() -> bool:
        if not run(*PATIENT, "--retry", "2", "-T", "-", stdin=errand.data):
            raise GaveUp
        return True

    once: dict[Form, Callable[[], bool]] = {
        Form.GET: lambda: run(*PATIENT, "-o", target),
        Form.GET_RANGE: lambda: run(*plain, "-C", "-", "-o", target),
        Form.PUT: lambda: run(*PATIENT, "-T", source),
        Form.PUT_STREAM: stream,
        Form.PUT_SUMMED: lambda: run(*plain, *summed, "-T", "-", stdin=errand.data),
        Form.PUT_TAIL: tail,
        Form.RESUME: resume,
    }
    _repeat(errand, once[errand.form], pause_s=0.3)
    return target.read_bytes() if errand.form.reads else None


def _repeat(errand: Errand, attempt: Callable[[], bool], *, pause_s: float) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            if attempt():
                return
        except (LineCut, OSError) as exc:
            errand.told.append(type(exc).__name__)
        errand.after_failure()
        assert time.monotonic() < until, f"not got through: {errand.told[-10:]}"
        time.sleep(pause_s)  # as a wrapper does between two attempts


def _get(errand: Errand, got: bytearray) -> bool:
    got[:] = b""
    return _brings(errand, got, {})


def _get_range(errand: Errand, got: bytearray) -> bool:
    return _brings(errand, got, {"Range": f"bytes={len(got)}-"} if got else {})


def _brings(errand: Errand, got: bytearray, headers: Mapping[str, str]) -> bool:
    errand.before_transfer()
    with Line(errand.port, timeout_s=errand.stall_s) as line:
        line.begin("GET", errand.path, headers)
        try:
            answer = line.answer()
        except LineCut as exc:
            if exc.head.startswith(("HTTP/1.1 200", "HTTP/1.1 206")):
                got += exc.body
            raise
    if answer.status == 416 and len(got) == len(errand.data):
        return True  # The last byte came, and only the end of the connection looked like a break.
    if answer.status in (200, 206):
        assert (answer.status == 206) == bool(headers), answer.status
        got += answer.body
        errand.told.append(str(answer.status))
        return True
    errand.told.append(f"{answer.status} {answer.code}")
    return False


def _put(
    errand: Errand, headers: Mapping[str, str], body: bytes, *, method: str = "PUT", chunked: bool = False
) -> Answer:
    """One upload. What the server said before it hung up is read even where sending failed."""
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    errand.before_transfer()
    with Line(errand.port, timeout_s=errand.stall_s) as line:
        try:
            line.begin(method, errand.path, {**framing, **errand.headers, **headers})
            if chunked:
                line.send_chunks(framed(body))
            else:
                line.send(body)
        except (BrokenPipeError, ConnectionResetError):
            errand.told.append("sending failed")
        return line.answer()


def _stores(errand: Errand, answer: Answer) -> bool:
    errand.told.append(f"{answer.status} {answer.code}")
    return answer.status in (200, 201)


def _streams(errand: Errand, headers: Mapping[str, str]) -> bool:
    answer = _put(errand, headers, errand.data, chunked=True)
    if answer.status in (409, 422) and not headers:
        raise GaveUp
    return _stores(errand, answer)


def _resume(errand: Errand, _: bytearray) -> bool:
    offset = _offset(errand)
    if offset is None:
        return True
    last = len(errand.data) - 1
    span = {"Content-Range": f"bytes {offset}-{last}/{last + 1}"} if offset else {}
    return _stores(errand, _put(errand, span, errand.data[offset:]))


def _patch(errand: Errand, _: bytearray) -> bool:
    offset = _offset(errand)
    if offset is None:
        return True
    headers = {"Content-Type": "application/partial-upload", "Upload-Offset": str(offset), "Upload-Complete": "?1"}
    chunked = errand.form is Form.PATCH_STREAM
    return _stores(errand, _put(errand, headers, errand.data[offset:], method="PATCH", chunked=chunked))


def _offset(errand: Errand) -> int | None:
    """Where to go on; None where the upload is complete. What others stored through the alias is none of ours."""
    with Line(errand.port) as line:
        head = line.ask("HEAD", errand.path)
    if head.status != 200:
        errand.told.append(f"HEAD {head.status} {head.code}")
        raise ConnectionError(f"HEAD is answered {head.status}")
    if head["Upload-Complete"] == "?1":
        return None if head["Waybill-Sha256"] == sha256(errand.data) else 0
    return int(head["Upload-Offset"])
