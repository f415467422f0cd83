"""The settings of GridFTP and SRM storages: which there are, what they must look like, and the URLs made of them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from adapters import options as options_of
from adapters.base import Field
from adapters.gfal_credential import GridCredential

CONNECT_TIMEOUT_S = 20
STALL_TIMEOUT_S = 60
MAX_PROCESSES = 8
CA_FOLDER = "/etc/grid-security/certificates"
SERVICE_PATH = "/srm/managerv2"

#: What a server may be asked to compute, with the name that RFC 9530's registry has for it.
CHECKSUMS = {"adler32": "adler", "md5": "md5", "sha256": "sha-256"}


_LIMITS = (
    Field(
        "connect_timeout_s",
        "integer",
        "Seconds for connecting and logging in, and for waiting for a free process",
        default=CONNECT_TIMEOUT_S,
    ),
    Field(
        "stall_timeout_s",
        "integer",
        "Seconds without an answer or a piece of the data (at most 4 MiB) after which a call fails",
        default=STALL_TIMEOUT_S,
    ),
    Field(
        "max_processes",
        "integer",
        "How many gfal2 processes, each with one transfer, may run at once for each process of Waybill",
        default=MAX_PROCESSES,
    ),
)
_SECRETS = (
    Field("proxy", "text", "A proxy certificate in PEM form with its private key and chain", secret=True),
    Field("certificate", "text", "Instead of a proxy, a certificate in PEM form, with its chain", secret=True),
    Field("private_key", "text", "The certificate's private key in PEM form, without a passphrase", secret=True),
)


def _fields(port: int, *, rename_overwrites: bool, checksum: str) -> tuple[Field, ...]:
    return (
        Field("host", "string", "Name of the server, as its certificate has it", required=True),
        Field("port", "integer", "TCP port of the server", default=port),
        Field("root", "string", "Absolute path of the folder below which every object lies", required=True),
        Field(
            "ca_folder",
            "string",
            "Folder on Waybill's machines with the trusted authorities, as hashed files with signing policies",
            default=CA_FOLDER,
        ),
        Field(
            "checksum",
            "string",
            f"What the server computes of each file before it is published: {', '.join(CHECKSUMS)}, or none",
            default=checksum,
            choices=(*CHECKSUMS, "none"),
        ),
        Field(
            "rename_overwrites",
            "boolean",
            "Whether the server renames onto an existing name: then objects can be replaced, and of two writers who"
            " create one key at the same moment both may be told that they did. Where it refuses: the other way round",
            default=rename_overwrites,
        ),
        *_LIMITS,
        *_SECRETS,
    )


GRIDFTP_PORT, SRM_PORT = 2811, 8443
GRIDFTP_FIELDS = _fields(GRIDFTP_PORT, rename_overwrites=True, checksum="adler32")
SRM_FIELDS = (
    *_fields(SRM_PORT, rename_overwrites=False, checksum="adler32"),
    Field("service_path", "string", "Path of the SRM service on the server", default=SERVICE_PATH),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is, who is trusted, and who we are; ``root`` is absolute and ends in ``/``.

    ``plugin`` is gfal2's name for what speaks to it; ``ranges`` says that it can read a part of a file.
    """

    storage: str
    scheme: str
    plugin: str
    ranges: bool
    host: str
    port: int
    root: str
    service_path: str
    ca_folder: str
    checksum: str
    rename_overwrites: bool
    connect_timeout_s: int
    stall_timeout_s: int
    max_processes: int
    credential: GridCredential

    def url(self, key: str = "") -> str:
        """The URL of a key or, without one, of the root."""
        path = self.root + key if key else self.root.rstrip("/") or "/"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.service_path:
            # With the service's path in it, gfal2 asks no directory of grid sites where the service is.
            return f"{self.scheme}://{host}:{self.port}{self.service_path}?SFN={path}"
        return f"{self.scheme}://{host}:{self.port}{quote(path, safe='/')}"


def make_endpoint(
    scheme: str, plugin: str, name: str, options: Mapping[str, object], credential: Mapping[str, str]
) -> Endpoint:
    """Raises ValueError that begins with the name of the setting that is wrong."""
    is_srm = scheme == "srm"
    return Endpoint(
        storage=name,
        scheme=scheme,
        plugin=plugin,
        ranges=not is_srm,
        host=options_of.host(options),
        port=options_of.port(options, SRM_PORT if is_srm else GRIDFTP_PORT),
        root=_folder(options, "root"),
        service_path=_folder(options, "service_path", SERVICE_PATH).rstrip("/") if is_srm else "",
        ca_folder=_folder(options, "ca_folder", CA_FOLDER),
        checksum=_checksum(options),
        rename_overwrites=_switch(options, "rename_overwrites", not is_srm),
        connect_timeout_s=options_of.whole_number(options, "connect_timeout_s", CONNECT_TIMEOUT_S),
        stall_timeout_s=options_of.whole_number(options, "stall_timeout_s", STALL_TIMEOUT_S),
        max_processes=options_of.whole_number(options, "max_processes", MAX_PROCESSES, most=256),
        credential=GridCredential.read(credential),
    )


def endpoint_uri(scheme: str, options: Mapping[str, object]) -> str:
    """``gsiftp://host:port/root/``; of an SRM storage without the service's path."""
    port = options_of.port(options, SRM_PORT if scheme == "srm" else GRIDFTP_PORT)
    server = options_of.authority(options_of.host(options), port)
    return f"{scheme}://{server}{quote(_folder(options, 'root'), safe='/~')}"


def _folder(options: Mapping[str, object], setting: str, default: str = "") -> str:
    """An absolute path that ends in ``/``."""
    folder = options.get(setting) or default
    if not isinstance(folder, str) or not folder.startswith("/") or not folder.isprintable():
        raise ValueError(f"{setting}: an absolute path was expected")
    if ".." in PurePosixPath(folder).parts:
        raise ValueError(f"{setting}: '..' is not allowed in it")
    if "?" in folder or "#" in folder:
        raise ValueError(f"{setting}: '?' and '#' are not allowed in it")
    return posixpath.normpath("/" + folder.strip("/")).rstrip("/") + "/"


def _checksum(options: Mapping[str, object]) -> str:
    checksum = options.get("checksum") or "adler32"
    if checksum == "none":
        return ""
    if checksum not in CHECKSUMS:
        raise ValueError(f"checksum: one of {', '.join(CHECKSUMS)} or none was expected")
    return str(checksum)


def _switch(options: Mapping[str, object], setting: str, default: bool) -> bool:
    value = options.get(setting)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{setting}: true or false was expected")
    return value
