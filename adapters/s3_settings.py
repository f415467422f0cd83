"""The settings of an S3 storage: their fields, their validation, and the client that they make."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import get_cert_path
from botocore.session import Session

from adapters.base import Field
from adapters.errors import InvalidKey
from adapters.keys import check_key
from adapters.s3_signed import CHECKSUM_TRAILER

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIELDS = (
    Field("endpoint", "string", "URL of the S3 service, such as https://s3.example.org; empty for AWS", default=""),
    Field("region", "string", "Region of the bucket", default="us-east-1"),
    Field("bucket", "string", "Name of the bucket, which must exist", required=True),
    Field("prefix", "string", "Start of every object's name in the bucket; empty for the whole bucket", default=""),
    Field(
        "path_style",
        "boolean",
        "Whether the bucket's name stands in the path and not in the host name; where it is not said: yes if an"
        " endpoint is given",
    ),
    Field("ca", "text", "PEM certificates of the authority that signed the endpoint's certificate, if it is private"),
    Field(
        "connect_timeout_s",
        "integer",
        "Seconds for connecting, and for waiting until fewer connections are in use",
        default=10,
    ),
    Field("stall_timeout_s", "integer", "Seconds without any progress after which a request fails", default=60),
    Field(
        "max_connections",
        "integer",
        "How many streams, uploads and requests may run at once; each has one connection, a large one a few, and up to"
        " eight where the server is far away",
        default=64,
    ),
    Field("idle_connections", "integer", "How many connections are kept open for the next request", default=10),
    Field("access_key", "string", "Access key", required=True, secret=True),
    Field("secret_key", "string", "Secret key", required=True, secret=True),
    Field("session_token", "text", "Session token of temporary credentials", secret=True),
)

# AWS's rules; other services allow no less and hardly more.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Validated settings; ``prefix`` is empty or ends in ``/``, ``endpoint`` is empty or has no ``/`` at its end."""

    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    path_style: bool = False
    ca: str = ""
    connect_timeout_s: int = 10
    stall_timeout_s: int = 60
    max_connections: int = 64
    idle_connections: int = 10

    @classmethod
    def read(cls, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        """Raises ValueError naming the setting that is wrong, never its value where that is secret."""
        endpoint = _text(options, "endpoint").rstrip("/")
        parts = urlsplit(endpoint)
        if endpoint and (
            parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.username
        ):
            raise ValueError("endpoint: a URL such as https://s3.example.org was expected, without path or user")
        region = _text(options, "region") or "us-east-1"
        if not _REGION.fullmatch(region):
            raise ValueError("region: a name such as us-east-1 was expected")
        path_style = options.get("path_style")
        if not isinstance(path_style, bool | None):
            raise ValueError("path_style: true or false was expected")
        ca = _text(options, "ca")
        if ca:
            try:
                ssl.create_default_context(cadata=ca)
            except (ssl.SSLError, ValueError) as exc:
                raise ValueError("ca: certificates in PEM form were expected") from exc
        for name in ("access_key", "secret_key"):
            if not credential.get(name):
                raise ValueError(f"{name}: it is missing")
        return cls(
            bucket=bucket_name(options),
            access_key=credential["access_key"],
            secret_key=credential["secret_key"],
            session_token=credential.get("session_token", ""),
            endpoint=endpoint,
            region=region,
            prefix=prefix(options),
            path_style=bool(endpoint) if path_style is None else path_style,
            ca=ca,
            connect_timeout_s=_positive(options, "connect_timeout_s", 10),
            stall_timeout_s=_positive(options, "stall_timeout_s", 60),
            max_connections=_positive(options, "max_connections", 64),
            idle_connections=_positive(options, "idle_connections", 10),
        )


def bucket_name(options: Mapping[str, object]) -> str:
    bucket = _text(options, "bucket")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("bucket: a bucket's name was expected")
    return bucket


def prefix(options: Mapping[str, object]) -> str:
    """Empty, or a legal key with a ``/`` at its end."""
    bare = _text(options, "prefix").strip("/")
    try:
        return check_key(bare) + "/" if bare else ""
    except InvalidKey as exc:
        raise ValueError(f"prefix: {exc.detail}") from exc


def _text(options: Mapping[str, object], name: str) -> str:
    value = options.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"{name}: text was expected")
    return value.strip()


def _positive(options: Mapping[str, object], name: str, default: int) -> int:
    value = options.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: a number above 0 was expected")
    return value


class S3Connection:
    """A client that knows these settings and nothing else of the machine it runs on.

    ``tls`` verifies as the client does; it is for requests that the client only signs.
    """

    client: S3Client
    tls: ssl.SSLContext

    def __init__(self, settings: S3Settings) -> None:
        certificates = str(get_cert_path(True))
        if settings.ca:
            # The client takes authorities only as a file, and reads it again for each connection.
            handle, certificates = tempfile.mkstemp(prefix="waybill-ca-", suffix=".pem")
            weakref.finalize(self, os.unlink, certificates)
            with os.fdopen(handle, "w") as file:
                file.write(settings.ca)
        self.tls = ssl.create_default_context(cafile=certificates)
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.stall_timeout_s,
            max_pool_connections=settings.idle_connections,
            retries={"mode": "standard", "total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        )
        self._signer = S3SigV4Auth(
            Credentials(settings.access_key, settings.secret_key, settings.session_token or None), "s3", settings.region
        )
        with _making_clients:
            self.client = _session().client(
                "s3",
                endpoint_url=settings.endpoint or None,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                aws_session_token=settings.session_token or None,
                verify=certificates,
                config=config,
            )

    def sign_chunked(self, url: str, size: int, more: Mapping[str, str]) -> dict[str, str]:
        """The headers of a PUT of ``size`` bytes in chunks whose CRC-32 follows them, with ``more`` among them."""
        headers = {
            **more,
            "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": str(size),
            "X-Amz-Trailer": CHECKSUM_TRAILER,
        }
        request = AWSRequest(method="PUT", url=url, headers=headers)
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
        self._signer.add_auth(request)
        return dict(request.headers.items())


#: boto3 makes clients in one thread at a time; the clients themselves are thread-safe.
_making_clients = threading.Lock()


@cache
def _session() -> boto3.Session:
    """A session without the profiles, files and endpoints of the user we run as.

    Sharing it loads the service's description once.
    """
    nothing = (None, None, None, None)
    variables = {
        "profile": nothing,
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
        "ignore_configured_endpoint_urls": (None, None, True, None),
    }
    return boto3.Session(botocore_session=Session(session_vars=variables))
