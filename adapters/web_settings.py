"""The settings that every storage behind an HTTP server has, and the address, credential and limits made of them."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from adapters import options as options_of
from adapters.base import Field

CONNECT_TIMEOUT_S = 10
STALL_TIMEOUT_S = 60
MAX_CONNECTIONS = 16

FIELDS = (
    Field(
        "url",
        "string",
        "Address of the folder below which every object lies, such as https://data.example.org/shared/",
        required=True,
    ),
    Field("username", "string", "User to log in as; empty for none"),
    Field("ca", "text", "PEM certificates of the authority that signed the server's certificate, if it is private"),
    Field(
        "connect_timeout_s",
        "integer",
        "Seconds for connecting, and for waiting for a free connection",
        default=CONNECT_TIMEOUT_S,
    ),
    Field(
        "stall_timeout_s",
        "integer",
        "Seconds without any progress after which a request fails",
        default=STALL_TIMEOUT_S,
    ),
    Field(
        "max_connections", "integer", "How many connections may be open at once, two at least", default=MAX_CONNECTIONS
    ),
    Field("password", "text", "The user's password", secret=True),
    Field("token", "text", "Instead of user and password, a bearer token", secret=True),
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """One server and one folder on it; ``root`` is the folder's path, percent-encoded and with a ``/`` at both ends."""

    storage: str
    scheme: str
    host: str
    port: int
    root: str
    authorization: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    connect_timeout_s: int = CONNECT_TIMEOUT_S
    stall_timeout_s: int = STALL_TIMEOUT_S
    max_connections: int = MAX_CONNECTIONS

    @classmethod
    def read(cls, storage: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        """Raises ValueError that begins with the name of the setting that is wrong, and never holds a secret."""
        scheme, host, port, root = _address(options)
        return cls(
            storage=storage,
            scheme=scheme,
            host=host,
            port=port,
            root=root,
            authorization=_authorization(options, credential),
            tls=_tls(options) if scheme == "https" else None,
            connect_timeout_s=options_of.whole_number(options, "connect_timeout_s", CONNECT_TIMEOUT_S),
            stall_timeout_s=options_of.whole_number(options, "stall_timeout_s", STALL_TIMEOUT_S),
            max_connections=options_of.whole_number(options, "max_connections", MAX_CONNECTIONS, least=2),
        )

    @property
    def server(self) -> str:
        """``https://host``, with the port where it is not the scheme's own, as ``Host`` has it too."""
        return _server(self.scheme, self.host, self.port if self.port != _DEFAULT_PORTS[self.scheme] else None)

    def path(self, key: str) -> str:
        """The percent-encoded path of a key, or of the start of one."""
        return self.root + quote(key, safe="/~")


def root_uri(options: Mapping[str, object]) -> str:
    """``https://host:port/root/``, the port always told."""
    scheme, host, port, root = _address(options)
    return _server(scheme, host, port) + root


def _server(scheme: str, host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"


def _address(options: Mapping[str, object]) -> tuple[str, str, int, str]:
    url = options.get("url")
    if not isinstance(url, str) or not url.isprintable() or " " in url.strip():
        raise ValueError("url: an address such as https://data.example.org/shared/ was expected")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise ValueError("url: its host or port cannot be made out") from exc
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        raise ValueError("url: it must begin with http:// or https:// and a host name or address in ASCII")
    if "@" in parts.netloc:
        raise ValueError("url: no user and no password in it; they are settings of their own")
    if parts.query or parts.fragment or url.strip().endswith(("?", "#")):
        raise ValueError("url: neither '?' nor '#' may be in it")
    return parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port, _root(parts.path)


def _root(path: str) -> str:
    try:
        names = [unquote(name, errors="strict") for name in path.split("/") if name]
    except UnicodeDecodeError as exc:
        raise ValueError("url: its path is not UTF-8") from exc
    if any(name in (".", "..") or "/" in name or not name.isprintable() for name in names):
        raise ValueError("url: its path holds '.', '..', an encoded slash or a control character")
    return "".join(f"/{quote(name, safe='~')}" for name in names) + "/"


def _authorization(options: Mapping[str, object], credential: Mapping[str, str]) -> str:
    """The value of the header ``Authorization``; empty without a credential (RFC 7617, RFC 6750)."""
    username, password, token = options.get("username") or "", credential.get("password"), credential.get("token")
    if not isinstance(username, str) or not username.isprintable() or ":" in username:
        raise ValueError("username: a name without ':' was expected")
    if token:
        if username or password:
            raise ValueError("token: either a token or a user with a password, and not both")
        if not _TOKEN.fullmatch(token.strip()):
            raise ValueError("token: it holds characters that no bearer token has")
        return f"Bearer {token.strip()}"
    if bool(username) != bool(password):
        raise ValueError(f"{'password' if username else 'username'}: it is missing beside the other")
    if not username:
        return ""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _tls(options: Mapping[str, object]) -> ssl.SSLContext:
    """Verifies the server by the given authority, or by the system's where none is given."""
    ca = options.get("ca")
    try:
        return ssl.create_default_context(cadata=ca if isinstance(ca, str) and ca.strip() else None)
    except (ssl.SSLError, ValueError) as exc:
        raise ValueError("ca: certificates in PEM form were expected") from exc
