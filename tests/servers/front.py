"""An HTTP server in front of another: it passes requests on unchanged, and can refuse them or lose their answers."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: What is told of a request: its method, its path with the query, and its headers with lower-case names.
Matches = Callable[[str, str, dict[str, str]], bool]


def never(method: str, path: str, headers: dict[str, str]) -> bool:
    return False


class Front:
    """Stands before ``127.0.0.1:target_port``; its own port is ``port``. With ``tls`` it speaks HTTPS.

    What matches ``refused`` gets a 501, what matches ``denied`` a 403 as a policy has it. What matches ``dropped`` is
    not done and not answered; what matches ``lost`` is done, and its answer is lost. What matches ``spoiled`` has
    another byte in the midst of its body. ``told`` are headers that each answer to a GET has besides its own.
    """

    def __init__(self, target_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.refused: Matches = never
        self.denied: Matches = never
        self.dropped: Matches = never
        self.lost: Matches = never
        self.spoiled: Matches = never
        self.told: dict[str, str] = {}
        self.target_port = target_port
        front = self

        class Handler(_Handler):
            owner = front

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            # The handshake belongs to the connection's own thread: it fails there if the client refuses us.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="front")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, as HTTP/1.0 has it."""

    owner: Front

    def handle(self) -> None:
        try:
            super().handle()
        except (ssl.SSLError, ConnectionError):
            self.close_connection = True  # The client has gone, or does not trust us.

    def do_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if self.owner.refused(self.command, self.path, headers):
            self._answer(501, [], b"<Error><Code>NotImplemented</Code></Error>")
            return
        if self.owner.denied(self.command, self.path, headers):
            self._answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")
            return
        if self.owner.dropped(self.command, self.path, headers):
            return
        if self.owner.spoiled(self.command, self.path, headers):
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.target_port, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if not self.owner.lost(self.command, self.path, headers):
            told = list(self.owner.told.items()) if self.command == "GET" else []
            self._answer(answer.status, answer.getheaders() + told, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        kept = [(name, value) for name, value in headers if name.lower() not in ("connection", "transfer-encoding")]
        if not any(name.lower() == "content-length" for name, _ in kept):
            kept.append(("Content-Length", str(len(content))))
        for name, value in kept:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests say what they see."""


def self_signed(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's TLS context with a certificate for 127.0.0.1 that nobody else vouches for, and that one as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = folder / "front.pem"
    file.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, pem.decode()
