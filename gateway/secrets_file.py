"""The key ring: where the keys come from that seal credentials, make tokens and sign sessions."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from gateway.env import SettingInvalid


def load(configured: str, path: Path) -> list[str]:
    """The ring, newest first: as configured, else as the file at ``path`` holds it, which is made if it is missing."""
    keys = [key.strip() for key in (configured or _read_or_make(path)).replace("\n", ",").split(",") if key.strip()]
    for key in keys:
        try:
            Fernet(key)
        except ValueError as exc:
            raise SettingInvalid(
                "WAYBILL_SECRET_KEYS", "(not shown)", "Fernet keys: 32 bytes in URL-safe base64"
            ) from exc
    if not keys:
        raise SettingInvalid("WAYBILL_SECRET_KEYS", "", "at least one Fernet key")
    return keys


def derive(key: str, purpose: str) -> str:
    """A secret for one purpose that does not reveal the ring's key."""
    digest = hmac.new(key.encode(), f"waybill:{purpose}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode()


def _read_or_make(path: Path) -> str:
    """Two processes that start at once must agree, so the file appears by a link that only one of them can make."""
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        fresh.touch(mode=0o600)
        fresh.write_text(Fernet.generate_key().decode() + "\n")
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text()
