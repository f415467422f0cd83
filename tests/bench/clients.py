"""The clients: curl, OpenSSH's sftp and wrk as processes, and threads with a kept connection for many small uploads."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.contest import Work
from tests.servers.process import find_program
from tests.servers.sshd import Sshd

#: Connections that are busy at once in the contests with small files.
CONNECTIONS = 16
#: No single run may take longer.
TIMEOUT_S = 900
#: How variables begin by which a user configures rclone and the clients of S3 and GridFTP.
_OF_THE_USER = ("RCLONE_", "AWS_", "X509_")

#: wrk asks for the addresses of a file in turn and prints at the end what happened as one line of JSON.
_WRK_SCRIPT = """\
local requests, at = {}, 0
function init(args)
  for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('{"requests": %d, "microseconds": %d, "failed": %d}\\n',
    summary.requests, summary.duration, failed))
end
"""


class WrongAnswer(RuntimeError):
    """A run that does not count: something failed or came back with another size."""


def curl_get(url: str, size: int) -> Work:
    """Download and throw away; the time is that of the whole process."""
    return _curl(["-o", "/dev/null", "-w", "%{size_download}", url], size)


def curl_put(url: str, file: Path) -> Work:
    """Upload a file with its length known."""
    return _curl(["-o", "/dev/null", "-w", "%{size_upload}", "-T", str(file), url], file.stat().st_size)


def sftp(server: Sshd, commands: Sequence[str], *, amount: float, cipher: str | None = None) -> Work:
    """OpenSSH's sftp with a batch of commands; the time is that of the whole process, log-in included."""
    command = sftp_command(server, cipher)
    began = time.perf_counter()
    call(command, stdin="\n".join(commands) + "\n")
    return Work(amount, time.perf_counter() - began)


def sftp_command(server: Sshd, cipher: str | None = None) -> list[str]:
    """OpenSSH's sftp, which reads its commands from standard input."""
    options = [f"UserKnownHostsFile={server.known_hosts}", f"IdentityFile={server.key_file}", "IdentitiesOnly=yes"]
    arguments = [find_program("sftp", package="openssh-client"), "-q", "-b", "-", "-P", str(server.port)]
    arguments += [word for option in options for word in ("-o", option)]
    arguments += ["-c", cipher] if cipher else []
    return [*arguments, f"{server.user}@{server.host}"]


def wrk(urls: Sequence[str], folder: Path, *, seconds: int) -> Work:
    """Get all of ``urls``, of one server, again and again for some seconds."""
    script, paths = folder / "wrk.lua", folder / "wrk-paths"
    script.write_text(_WRK_SCRIPT)
    paths.write_text("".join(f"{_target(url)}\n" for url in urls))
    arguments = [find_program("wrk", package="wrk"), "-t", "1", "-c", str(CONNECTIONS), "-d", str(seconds)]
    output = call([*arguments, "-s", str(script), _origin(urls[0]), "--", str(paths)])
    summary = json.loads(output.splitlines()[-1])
    if summary["failed"]:
        raise WrongAnswer(f"{summary['failed']} of {summary['requests']} requests failed")
    return Work(summary["requests"], summary["microseconds"] / 1e6)


def put_all(urls: Sequence[str], body: bytes) -> Work:
    """Upload the same small body to each URL, over connections that are kept."""
    shares = [urls[first::CONNECTIONS] for first in range(CONNECTIONS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(_put_share, [share for share in shares if share], [body] * CONNECTIONS):
            pass
    return Work(len(urls), time.perf_counter() - began)


def _put_share(urls: Iterable[str], body: bytes) -> None:
    connection: http.client.HTTPConnection | None = None
    try:
        for url in urls:
            connection = connection or http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            connection.request("PUT", _target(url), body)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 201):
                raise WrongAnswer(f"a small PUT was answered with {answer.status}")
    finally:
        if connection is not None:
            connection.close()


def _curl(arguments: Sequence[str], size: int) -> Work:
    began = time.perf_counter()
    moved = call([find_program("curl", package="curl"), "-fsS", *arguments])
    seconds = time.perf_counter() - began
    if int(moved) != size:
        raise WrongAnswer(f"curl moved {moved} of {size} bytes")
    return Work(size, seconds)


def call(arguments: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """The output of a program that succeeds within ``TIMEOUT_S``; it does not outlive this call.

    ``env`` is added to our own environment, without what that says of the user's storages. Raises WrongAnswer.
    """
    try:
        ended = subprocess.run(
            list(arguments),
            input=stdin,
            text=True,
            capture_output=True,
            check=True,
            timeout=TIMEOUT_S,
            env={name: os.environ[name] for name in os.environ if not name.startswith(_OF_THE_USER)} | dict(env or {}),
        )
    except subprocess.CalledProcessError as exc:
        raise WrongAnswer(f"{Path(exc.cmd[0]).name} ended with {exc.returncode}: {exc.stderr[-500:]}") from exc
    return ended.stdout


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
