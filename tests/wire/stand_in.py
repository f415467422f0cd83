"""A stand-in for a gateway, of which a test decides every answer: it can lie, break off and forget."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Asked:
    """One request; ``read(n)`` takes up to ``n`` bytes of its body."""

    method: str
    path: str
    headers: Mapping[str, str]
    read: Callable[[int], bytes]

    @property
    def size(self) -> int:
        return int(self.headers.get("Content-Length", "0"))


@dataclass(frozen=True)
class Said:
    """One answer; its headers may announce more than ``body`` has, which then breaks off."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class StandIn:
    """``with StandIn(answer) as server:`` — each request is answered with what ``answer`` returns; None hangs up."""

    def __init__(self, answer: Callable[[Asked], Said | None]) -> None:
        self.asked: list[Asked] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def answer(self) -> None:
                asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read)
                stand_in.asked.append(asked)
                said = answer(asked)
                self.close_connection = True
                if said is None:
                    return
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)

            do_GET = do_HEAD = do_PUT = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stand-in")

    def url(self, path: str = "/a/token/x.bin") -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Versions:
    """Answers reads of the contract; ``serve`` sets the version, ``cut_after`` breaks the next GET off once."""

    def __init__(self, data: bytes, **headers: str) -> None:
        self.cut_after: int | None = None
        self.serve(data, **headers)

    def serve(self, data: bytes, **headers: str) -> None:
        """Be of this version from now on; ``headers`` (with _ for -) say something else of it than what is true."""
        digest = hashlib.sha256(data).hexdigest()
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        self.data, self.headers = data, {"ETag": f'"{digest}"', "Waybill-Sha256": digest, **said}

    def __call__(self, asked: Asked) -> Said:
        headers = {name: value for name, value in self.headers.items() if value}
        if asked.headers.get("If-Match", headers.get("ETag")) != headers.get("ETag"):
            return Said(412, {"Waybill-Error-Code": "precondition_failed", "Waybill-Retryable": "false"})
        size, body, status = len(self.data), self.data, 200
        if match := re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", "")):
            body, status = self.data[int(match[1]) :], 206
            headers["Content-Range"] = f"bytes {match[1]}-{size - 1}/{size}"
        headers["Content-Length"] = str(len(body))
        if asked.method == "GET" and self.cut_after is not None:
            body, self.cut_after = body[: self.cut_after], None
        return Said(status, headers, body)


class Resumable:
    """Answers uploads as the contract says: what has come is kept, and told by HEAD.

    ``breaks`` are the places at which a PUT breaks off, each once; ``lose_reply`` loses the answer to the whole.
    """

    def __init__(self, *breaks: int, lose_reply: bool = False, tells_digest: bool = True) -> None:
        self.breaks, self.lose_reply, self.tells_digest = list(breaks), lose_reply, tells_digest
        self.data = b""
        self.complete = False
        #: How many HEADs find all bytes there and not verified yet.
        self.verifying = 0
        self.received = 0
        self.published: bytes | None = None

    def __call__(self, asked: Asked) -> Said | None:
        return self._head() if asked.method == "HEAD" else self._put(asked)

    def _state(self) -> dict[str, str]:
        state = {"Upload-Offset": str(len(self.data)), "Upload-Complete": "?1" if self.complete else "?0"}
        if self.complete and self.tells_digest:
            state["Waybill-Sha256"] = hashlib.sha256(self.data).hexdigest()
        return state

    def _head(self) -> Said:
        state = self._state()
        if self.complete and self.verifying:
            self.verifying -= 1
            state = {"Upload-Offset": state["Upload-Offset"], "Upload-Complete": "?0"}
        return Said(200, {**state, "Content-Length": "0"})

    def _put(self, asked: Asked) -> Said | None:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", asked.headers.get("Content-Range", ""))
        first, total = (int(match[1]), int(match[3])) if match else (0, asked.size)
        if match and (self.complete or first != len(self.data)):
            return Said(409, {"Waybill-Error-Code": "wrong_offset", "Waybill-Retryable": "false", **self._state()})
        before, self.data, self.complete = self.data, self.data[:first], False
        left = asked.size
        while left:
            wanted = min(left, 65_536, *(stop - len(self.data) for stop in self.breaks[:1]))
            chunk = asked.read(wanted)
            self.data += chunk
            self.received += len(chunk)
            left -= len(chunk)
            if not chunk or self.breaks[:1] == [len(self.data)]:
                del self.breaks[:1]
                return None
        digest = hashlib.sha256(self.data).hexdigest()
        if len(self.data) != total or asked.headers["Waybill-Sha256"] != digest:
            self.data = b""
            return Said(422, {"Waybill-Error-Code": "digest_mismatch", "Waybill-Retryable": "false"})
        replayed = {"Waybill-Replayed": "true"} if self.published == self.data == before else {}
        self.complete, self.published = True, self.data
        if self.lose_reply:
            self.lose_reply = False
            return None
        return Said(200 if replayed else 201, {**self._state(), "Waybill-Sha256": digest, **replayed})
