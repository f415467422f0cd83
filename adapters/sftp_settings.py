"""The settings of an SFTP storage: which there are, what they must look like, and the keys among them."""

from __future__ import annotations

import base64
import io
import posixpath
import re
from collections.abc import Mapping
from urllib.parse import quote

import paramiko
from paramiko.pkey import UnknownKeyType

from adapters import options as options_of
from adapters.base import Field
from adapters.sftp_endpoint import Endpoint, Engine

PORT = 22
CONNECT_TIMEOUT_S = 10
STALL_TIMEOUT_S = 60
MAX_CONNECTIONS = 8

FIELDS = (
    Field("host", "string", "Name or address of the server", required=True),
    Field("port", "integer", "TCP port of the SSH server", default=PORT),
    Field("username", "string", "User to log in as", required=True),
    Field(
        "root",
        "string",
        "Folder below which every object lies: an absolute path on the server, or one relative to the login's folder",
        required=True,
    ),
    Field("host_key", "string", "The server's public host key, as in known_hosts: ssh-ed25519 AAAA…"),
    Field("host_key_fingerprint", "string", "Instead of host_key, its fingerprint: SHA256:…"),
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
    Field(
        "engine",
        "string",
        "Who speaks SSH: openssh (the machine's ssh program, the faster one), paramiko, or auto: openssh where that "
        "program is there and a private key is given",
        default=Engine.AUTO.value,
        choices=tuple(engine.value for engine in Engine),
    ),
    Field("password", "text", "The user's password", secret=True),
    Field("private_key", "text", "Instead of a password, a private key in OpenSSH's or PEM format", secret=True),
    Field("passphrase", "text", "The passphrase of the private key, if it has one", secret=True),
)

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_KEY_KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def make_endpoint(name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Endpoint:
    """Raises ValueError that begins with the name of the setting that is wrong."""
    host_key, fingerprint = options.get("host_key"), options.get("host_key_fingerprint")
    if host_key and fingerprint:
        raise ValueError("host_key_fingerprint: leave it empty where host_key is given")
    password, private_key = credential.get("password"), credential.get("private_key")
    if bool(password) == bool(private_key):
        raise ValueError("private_key: either a private key or a password is needed, and not both")
    username = options.get("username")
    if not isinstance(username, str) or not username:
        raise ValueError("username: the user to log in as was expected")
    engine = _engine(options)
    if engine is Engine.OPENSSH and password:
        raise ValueError("engine: openssh needs a private key; with a password leave it at auto or set paramiko")
    return Endpoint(
        storage=name,
        host=options_of.host(options),
        port=options_of.port(options, PORT),
        username=username,
        root=_root(options),
        host_key=_host_key(str(host_key)) if host_key else None,
        fingerprint=_fingerprint(str(fingerprint)) if fingerprint else None,
        password=password or None,
        private_key=_private_key(private_key, credential.get("passphrase") or None) if private_key else None,
        connect_timeout_s=options_of.whole_number(options, "connect_timeout_s", CONNECT_TIMEOUT_S),
        stall_timeout_s=options_of.whole_number(options, "stall_timeout_s", STALL_TIMEOUT_S),
        engine=engine,
    )


def endpoint_uri(options: Mapping[str, object]) -> str:
    """``sftp://host:port/root/``, a root relative to the login's folder as ``/~/root/``."""
    root = _root(options)
    server = options_of.authority(options_of.host(options), options_of.port(options, PORT))
    path = root if root.startswith("/") else posixpath.normpath(posixpath.join("/~", root))
    return f"sftp://{server}{quote(path.rstrip('/') + '/', safe='/~')}"


def _root(options: Mapping[str, object]) -> str:
    root = options.get("root")
    if not isinstance(root, str) or not root or not root.isprintable():
        raise ValueError("root: the path of a folder on the server was expected")
    if ".." in root.split("/"):
        raise ValueError("root: '..' is not allowed in it")
    # POSIX lets a path that begins with exactly two slashes mean something else, and normpath keeps them.
    return posixpath.normpath("/" + root.lstrip("/") if root.startswith("/") else root)


def _engine(options: Mapping[str, object]) -> Engine:
    try:
        return Engine(str(options.get("engine") or Engine.AUTO))
    except ValueError as exc:
        raise ValueError(f"engine: one of {', '.join(Engine)} was expected") from exc


def _host_key(text: str) -> paramiko.PKey:
    """From ``ssh-ed25519 AAAA… comment``, or a whole line of known_hosts."""
    words = text.split()
    try:
        kind = next(at for at, word in enumerate(words[:-1]) if word.startswith(("ssh-", "ecdsa-")))
        return paramiko.PKey.from_type_string(words[kind], base64.b64decode(words[kind + 1], validate=True))
    except (StopIteration, ValueError, paramiko.SSHException, UnknownKeyType) as exc:
        raise ValueError("host_key: a public key like 'ssh-ed25519 AAAA…' was expected") from exc


def _fingerprint(text: str) -> str:
    fingerprint = text.strip().rstrip("=")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError(
            "host_key_fingerprint: 'SHA256:' and 43 characters were expected, as `ssh-keygen -l` prints them"
        )
    return fingerprint


def _private_key(text: str, passphrase: str | None) -> paramiko.PKey:
    text = "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
    for kind in _KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException as exc:
            raise ValueError("passphrase: the private key is encrypted and needs one") from exc
        except (paramiko.SSHException, ValueError, TypeError, IndexError):
            continue  # It is of another kind, or of none: paramiko says the same of both.
    if passphrase:
        raise ValueError("passphrase: it does not open the private key, or the private key is damaged")
    raise ValueError("private_key: an Ed25519, ECDSA or RSA key in OpenSSH's or PEM format was expected")
