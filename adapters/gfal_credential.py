"""The X.509 credential of a grid storage: looked through, and kept in a private file for as long as it is used."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GridCredential:
    """A certificate with its key and chain as PEM; ``subject`` is its name, ``expires`` when the first of all ends."""

    pem: str = field(repr=False)
    subject: str
    expires: datetime

    @classmethod
    def read(cls, credential: Mapping[str, str]) -> Self:
        """Raises ValueError that begins with the name of the secret that is wrong, and never shows it."""
        proxy, certificate, key = (credential.get(name) or "" for name in ("proxy", "certificate", "private_key"))
        if bool(proxy) == bool(certificate):
            raise ValueError("proxy: either a proxy or a certificate with its private_key is needed, and not both")
        if proxy and key:
            raise ValueError("private_key: leave it empty with a proxy, which holds its own")
        if certificate and not key:
            raise ValueError("private_key: the certificate needs it")
        setting = "proxy" if proxy else "certificate"
        chain = _certificates(setting, proxy or certificate)
        if _public(_private_key("proxy" if proxy else "private_key", proxy or key)) != _public(chain[0]):
            raise ValueError(f"{setting}: its first certificate and the private key do not belong together")
        pem = "\n".join(text.strip() for text in (proxy, certificate, key) if text) + "\n"
        expires = min(found.not_valid_after_utc for found in chain)
        return cls(pem, chain[0].subject.rfc4514_string(), expires)

    @property
    def has_expired(self) -> bool:
        return self.expires <= datetime.now(UTC)

    def told(self) -> str:
        """Whose it is and until when, for an operator."""
        ends = "expired at" if self.has_expired else "is valid until"
        return f"the certificate of {self.subject} {ends} {self.expires:%Y-%m-%d %H:%M:%S} UTC"


class CredentialFile:
    """The credential as a file that only we may read, in a folder of its own; it is written when it is first used.

    Thread-safe. ``remove`` takes it away until the next use, and so does the end of this program; where that is killed,
    its gfal2 processes do it.
    """

    def __init__(self, credential: GridCredential) -> None:
        self._credential = credential
        self._lock = threading.Lock()
        self._removal: weakref.finalize[..., CredentialFile] | None = None
        self._path: Path | None = None

    def path(self) -> Path:
        """Where it is; written again where somebody cleaned it away."""
        with self._lock:
            if self._path is None or not self._path.exists():
                self._forget()
                folder = tempfile.mkdtemp(prefix="waybill-grid-")  # Its mode is 0700.
                self._removal = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                path = Path(folder) / "credential.pem"
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(self._credential.pem)
                self._path = path
            return self._path

    def remove(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._removal is not None:
            self._removal()
        self._path = self._removal = None


def _certificates(setting: str, pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as exc:
        raise ValueError(f"{setting}: a certificate in PEM form was expected (-----BEGIN CERTIFICATE-----)") from exc


def _private_key(setting: str, pem: str) -> PrivateKeyTypes:
    block = _KEY.search(pem)
    try:
        return load_pem_private_key(block[0].encode() if block else b"", None)
    except TypeError as exc:
        raise ValueError(f"{setting}: the private key is encrypted; give it without a passphrase") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ValueError(f"{setting}: a private key in PEM form was expected (-----BEGIN PRIVATE KEY-----)") from exc


def _public(holder: PrivateKeyTypes | x509.Certificate) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
