"""The settings of an iRODS storage: which there are, and what they must look like."""

from __future__ import annotations

import posixpath
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from adapters import options as options_of
from adapters.base import Field

PORT = 1247
CONNECT_TIMEOUT_S = 10
STALL_TIMEOUT_S = 60
MAX_CONNECTIONS = 8

REQUIRE_TLS, REFUSE_TLS = "CS_NEG_REQUIRE", "CS_NEG_REFUSE"
NATIVE, PAM = "native", "pam_password"

#: The protocol pads a native password to so many bytes and drops what is beyond.
_MAX_NATIVE_PASSWORD_BYTES = 50

FIELDS = (
    Field("host", "string", "Name or address of the server", required=True),
    Field("port", "integer", "TCP port of the server", default=PORT),
    Field("zone", "string", "Zone of the user", required=True),
    Field("username", "string", "User to log in as", required=True),
    Field(
        "root",
        "string",
        "Collection below which every object lies, which must exist: /zone/home/user/data",
        required=True,
    ),
    Field("resource", "string", "Resource on which new objects are made; empty for the server's own choice"),
    Field(
        "authentication",
        "string",
        f"How the password is proved: {NATIVE}, or {PAM}, which needs TLS",
        default=NATIVE,
        choices=(NATIVE, PAM),
    ),
    Field(
        "client_server_policy",
        "string",
        f"{REQUIRE_TLS}: nothing is sent without TLS. {REFUSE_TLS}: nothing is encrypted",
        default=REQUIRE_TLS,
        choices=(REQUIRE_TLS, REFUSE_TLS),
    ),
    Field("ca", "text", "PEM certificates of the authority that signed the server's certificate, if it is private"),
    Field(
        "verify_checksums",
        "boolean",
        "Whether the server computes the SHA-256 of each object before it is published, which is then compared; it"
        " has to read the object once for that",
        default=True,
    ),
    Field(
        "connect_timeout_s",
        "integer",
        "Seconds for connecting and logging in, and for waiting for a free connection",
        default=CONNECT_TIMEOUT_S,
    ),
    Field(
        "stall_timeout_s",
        "integer",
        "Seconds without any progress after which a transfer fails",
        default=STALL_TIMEOUT_S,
    ),
    Field("max_connections", "integer", "How many connections may be open at once", default=MAX_CONNECTIONS),
    Field("password", "text", "The user's password", required=True, secret=True),
)

#: What no query could ask for together with any key.
_NOT_IN_ROOT = re.compile(r"'|&&|\|\|")
_NAME = re.compile(r"[^\s/#'\x00-\x20\x7f]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is and who we are there; ``root`` ends in no ``/``, ``resource`` may be empty."""

    storage: str
    host: str
    port: int
    zone: str
    username: str
    root: str
    resource: str
    authentication: str
    policy: str
    ca: str
    verify_checksums: bool
    password: str = field(repr=False)
    connect_timeout_s: float
    stall_timeout_s: float


def make_endpoint(name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Endpoint:
    """Raises ValueError that begins with the name of the setting that is wrong."""
    authentication = _one_of(options, "authentication", NATIVE, PAM)
    policy = _one_of(options, "client_server_policy", REQUIRE_TLS, REFUSE_TLS)
    if authentication == PAM and policy != REQUIRE_TLS:
        raise ValueError(f"client_server_policy: {PAM} sends the password itself and needs {REQUIRE_TLS}")
    return Endpoint(
        storage=name,
        host=options_of.host(options),
        port=options_of.port(options, PORT),
        zone=_plain_name(options, "zone"),
        username=_plain_name(options, "username"),
        root=_root(options),
        resource=_plain_name(options, "resource") if options.get("resource") else "",
        authentication=authentication,
        policy=policy,
        ca=_ca(options),
        verify_checksums=options.get("verify_checksums", True) is True,
        password=_password(credential, authentication),
        connect_timeout_s=options_of.whole_number(options, "connect_timeout_s", CONNECT_TIMEOUT_S),
        stall_timeout_s=options_of.whole_number(options, "stall_timeout_s", STALL_TIMEOUT_S),
    )


def endpoint_uri(options: Mapping[str, object]) -> str:
    """``irods://host:port/zone/path/``."""
    server = options_of.authority(options_of.host(options), options_of.port(options, PORT))
    return f"irods://{server}{quote(_root(options) + '/', safe='/~')}"


def _one_of(options: Mapping[str, object], setting: str, *choices: str) -> str:
    """The first choice is the default."""
    value = options.get(setting) or choices[0]
    if value not in choices:
        raise ValueError(f"{setting}: {' or '.join(choices)} was expected")
    return str(value)


def _plain_name(options: Mapping[str, object], setting: str) -> str:
    name = options.get(setting)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{setting}: a name without spaces, slashes, quotes and # was expected")
    return name


def _root(options: Mapping[str, object]) -> str:
    root = options.get("root")
    if not isinstance(root, str) or not root.startswith("/") or not root.isprintable() or _NOT_IN_ROOT.search(root):
        raise ValueError("root: the absolute path of a collection was expected, such as /zone/home/user")
    if ".." in root.split("/"):
        raise ValueError("root: '..' is not allowed in it")
    path = posixpath.normpath("/" + root.lstrip("/"))
    if path == "/":
        raise ValueError("root: a collection within a zone was expected, such as /zone/home/user")
    return path


def _ca(options: Mapping[str, object]) -> str:
    ca = options.get("ca") or ""
    if not isinstance(ca, str):
        raise ValueError("ca: text was expected")
    if ca:
        try:
            ssl.create_default_context(cadata=ca)
        except (ssl.SSLError, ValueError) as exc:
            raise ValueError("ca: certificates in PEM form were expected") from exc
    return ca


def _password(credential: Mapping[str, str], authentication: str) -> str:
    password = credential.get("password", "")
    if not password:
        raise ValueError("password: it is missing")
    if authentication == NATIVE and (
        password != password.strip() or len(password.encode()) > _MAX_NATIVE_PASSWORD_BYTES
    ):
        raise ValueError(f"password: {NATIVE} takes at most {_MAX_NATIVE_PASSWORD_BYTES} bytes, without space around")
    return password
