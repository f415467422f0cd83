"""The real curl, as a job runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.servers.process import find_program

#: What docs/http.md tells a job's wrapper to run, with waits and limits that suit a test.
PATIENT = [
    *["-fsS", "--retry", "10", "--retry-all-errors", "--retry-connrefused", "--retry-max-time", "60"],
    *["--retry-delay", "1", "--speed-limit", "1024", "--speed-time", "10"],
]

#: How curl sends an upload, by name; ``BODY`` stands for the file, which is its standard input too.
WAYS: dict[str, list[str]] = {
    "a file": ["-T", "BODY"],
    "a file over HTTP/1.0": ["-0", "-T", "BODY"],
    "a file without Expect": ["-H", "Expect:", "-T", "BODY"],
    "a form's way": ["--data-binary", "@BODY"],
    "a stream": ["-T", "-"],
    "a stream without Expect": ["-H", "Expect:", "-T", "-"],
}


@dataclass(frozen=True)
class Outcome:
    """How curl ended: its exit status, the last HTTP status (0: none) and what it wrote to standard output."""

    exit: int
    status: int
    output: bytes
    errors: str


def command(*arguments: str | Path) -> list[str]:
    """curl's argument list; it prints the HTTP status on standard error's last line."""
    program = find_program("curl", package="curl")
    return [program, "-q", "-w", "%{stderr}\nstatus=%{http_code}", *map(str, arguments)]


def curl(*arguments: str | Path, stdin: bytes = b"", timeout_s: float = 60) -> Outcome:
    """Run it to its end."""
    ended = subprocess.run(command(*arguments), input=stdin, capture_output=True, timeout=timeout_s, check=False)
    return outcome(ended.returncode, ended.stdout, ended.stderr)


def send(way: Sequence[str], file: Path, url: str) -> Outcome:
    """Upload the file in one of the ``WAYS``."""
    arguments = [argument.replace("BODY", str(file)) for argument in way]
    with file.open("rb") as body:
        return end(begin(["-sS", *arguments, url], stdin=body))


def begin(arguments: Sequence[str | Path], *, stdin: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start it; ``end`` waits for it."""
    return subprocess.Popen(command(*arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(running: subprocess.Popen[bytes], *, timeout_s: float = 90) -> Outcome:
    """Wait for a curl that was begun."""
    try:
        output, errors = running.communicate(timeout=timeout_s)
    finally:
        running.kill()
    return outcome(running.returncode, output, errors)


def outcome(exit_status: int, output: bytes, errors: bytes) -> Outcome:
    words, _, status = errors.decode(errors="replace").rpartition("\nstatus=")
    return Outcome(exit_status, int(status or 0), output, words)
