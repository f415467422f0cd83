"""Credentials: sealed by the key ring on the way in, opened only to build an adapter, and shown to nobody."""

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils import timezone

from staging.errors import InvalidRequest
from staging.models import Credential


def _ring() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.SECRET_KEYS])


def seal(secrets: Mapping[str, str]) -> bytes:
    """The secrets as bytes that only a key of the ring can open; the newest key seals."""
    return _ring().encrypt(json.dumps(dict(secrets)).encode())


def unseal(credential: Credential) -> dict[str, str]:
    """The secrets. Raises InvalidRequest where no key of the ring fits, naming the credential."""
    try:
        opened: dict[str, str] = json.loads(_ring().decrypt(bytes(credential.sealed)))
    except InvalidToken as exc:
        raise InvalidRequest(
            f"No key of WAYBILL_SECRET_KEYS opens the credential {credential.name!r}; enter it again."
        ) from exc
    return opened


def store(credential: Credential, secrets: Mapping[str, str]) -> Credential:
    """Seal new secrets into the row and save it; adapters built from the old ones are replaced at their next use."""
    credential.sealed = seal(secrets)
    credential.field_names = sorted(secrets)
    if not credential._state.adding:
        credential.revision += 1
        credential.rotated_at = timezone.now()
    credential.save()
    return credential


def reseal_all() -> int:
    """Seal every credential by the ring's newest key; returns how many there were."""
    ring, count = _ring(), 0
    for credential in Credential.objects.iterator():
        sealed = ring.rotate(bytes(credential.sealed))
        count += Credential.objects.filter(pk=credential.pk, revision=credential.revision).update(sealed=sealed)
    return count
