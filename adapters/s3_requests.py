"""The requests to one bucket: the driver's client, and what it only signs and our own connections carry."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from adapters import s3_errors
from adapters.errors import AlreadyExists, InvalidKey, Unavailable, VersionChanged
from adapters.keys import MAX_KEY_BYTES
from adapters.pool import Pool
from adapters.s3_known import known_of
from adapters.s3_settings import S3Connection, S3Settings
from adapters.s3_signed import CheckedPut, KeptConnection, SignedGet, SignedPut

#: A signature is checked when a request arrives; how long its body then takes does not matter.
_SIGNATURE_LIFETIME_S = 900
#: A round trip that is longer than within one machine or one rack.
_FAR_S = 0.0005
_TRIES = 8
#: Gateways bound their streams; this only keeps a mistake from taking every descriptor.
_MOST_KEPT = 1_000
#: AWS closes what is idle for some seconds.
_IDLE_S = 5.0


class S3Requests:
    """Thread-safe. ``client`` is the driver's, which signs the others too; ``known`` is what is known of the server."""

    def __init__(self, settings: S3Settings, *, storage: str, far: bool | None) -> None:
        self.storage = storage
        self.name = settings.bucket
        self.prefix = settings.prefix
        self.connect_timeout_s = settings.connect_timeout_s
        self.stall_timeout_s = settings.stall_timeout_s
        self.known = known_of(settings)
        self._far = far
        connection = S3Connection(settings)
        self.client, self.tls = connection.client, connection.tls
        self._sign_chunked = connection.sign_chunked
        self._connections = Pool(
            lambda: KeptConnection(
                self.sign("put_object", "any", lifetime_s=1),
                tls=connection.tls,
                connect_timeout_s=settings.connect_timeout_s,
                stall_timeout_s=settings.stall_timeout_s,
            ),
            storage=storage,
            limit=_MOST_KEPT,
            wait_s=settings.connect_timeout_s,
            idle_s=_IDLE_S,
            spare=settings.idle_connections,
        )

    def close(self) -> None:
        """Close what is idle."""
        self._connections.close()
        self.client.close()

    @property
    def address(self) -> tuple[str, int]:
        """The endpoint's host and port."""
        parts = urlsplit(self.client.meta.endpoint_url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_far(self) -> bool:
        """Whether one connection alone would not fill the line. Measured once, in a few round trips.

        A busy machine may be late in each of some, a server far away is in all.
        """
        if self._far is not None:
            return self._far
        if self.known.is_far is None:
            try:
                tries = (_connecting_s(self.address, self.connect_timeout_s) for _ in range(_TRIES))
                self.known.is_far = all(took > _FAR_S for took in tries)
            except OSError:
                return False  # The request that follows says what is wrong.
        return self.known.is_far

    def path(self, key: str) -> str:
        """The object's name in the bucket; raises InvalidKey for one that S3 cannot hold."""
        path = self.prefix + key
        if len(path.encode()) > MAX_KEY_BYTES:
            raise InvalidKey(
                f"with the storage's prefix it has more than {MAX_KEY_BYTES} bytes", storage=self.storage, key=key
            )
        return path

    def translating(
        self, key: str = "", *, precondition: type[VersionChanged | AlreadyExists] = VersionChanged
    ) -> AbstractContextManager[None]:
        return s3_errors.translating(self.storage, key, precondition=precondition)

    def begin_put(
        self,
        operation: str,
        key: str,
        size: int,
        *,
        create: bool = False,
        ask: bool = False,
        headers: Mapping[str, str] = MappingProxyType({}),
        **params: Any,
    ) -> SignedPut:
        """Open a connection of its own for one body of ``size`` bytes. Raises what the driver raises.

        With ``ask`` the server may be waited for until it has looked at the request: ``SignedPut.may_go_on``.
        """
        sent = {**headers, "Expect": "100-continue"} if ask else dict(headers)
        if create:
            params["IfNoneMatch"] = sent["If-None-Match"] = "*"
        url = self.sign(operation, key, lifetime_s=_SIGNATURE_LIFETIME_S, **params)
        return SignedPut(self._connections, url, size, operation=operation, headers=sent)

    def begin_checked_put(
        self, operation: str, key: str, size: int, *, create: bool = False, spoiled: bool = False, **params: Any
    ) -> CheckedPut:
        """As ``begin_put``, with a sum behind the body that the server compares; only for one that is known to."""
        signed = urlsplit(self.sign(operation, key, lifetime_s=_SIGNATURE_LIFETIME_S, **params))
        bare = [(name, value) for name, value in parse_qsl(signed.query) if not name.startswith("X-Amz-")]
        url = urlunsplit(signed._replace(query=urlencode(bare, quote_via=quote)))
        # What is chunked is signed by headers: a signed URL has no place for the kind of payload.
        headers = self._sign_chunked(url, size, {"If-None-Match": "*"} if create else {})
        return CheckedPut(self._connections, url, size, operation=operation, headers=headers, spoiled=spoiled)

    def begin_get(
        self, key: str, start: int = 0, stop: int | None = None, *, version: str | None, sums: bool = False
    ) -> SignedGet:
        """Open ``[start, stop)``, of one version where it is given. Raises what the driver raises.

        With ``sums`` the server is asked to tell one of the whole.
        """
        params, headers = ({"ChecksumMode": "ENABLED"}, {"x-amz-checksum-mode": "ENABLED"}) if sums else ({}, {})
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        url = self.sign("get_object", key, lifetime_s=_SIGNATURE_LIFETIME_S, **params)
        return SignedGet(self._connections, url, operation="get_object", headers=headers)

    def begin_range(self, key: str, start: int, stop: int, version: str) -> SignedGet:
        """Open ``[start, stop)`` of one version. Raises what the driver raises, and Unavailable for another range."""
        request = self.begin_get(key, start, stop, version=version)
        answer = request.answer
        # If-Match is the server's word; what it sends is held against it all the same.
        if (answer.getheader("ETag") or "").strip('"') != version:
            request.close()
            raise VersionChanged(storage=self.storage, key=key)
        if not (answer.getheader("Content-Range") or "").startswith(f"bytes {start}-{stop - 1}/"):
            request.close()
            raise Unavailable("the storage did not answer with the range asked for", storage=self.storage, key=key)
        return request

    def sign(self, operation: str, key: str, *, lifetime_s: int, **params: Any) -> str:
        return self.client.generate_presigned_url(
            operation, Params={"Bucket": self.name, "Key": self.path(key), **params}, ExpiresIn=lifetime_s
        )


def _connecting_s(address: tuple[str, int], timeout_s: float) -> float:
    began = time.perf_counter()
    socket.create_connection(address, timeout=timeout_s).close()
    return time.perf_counter() - began
