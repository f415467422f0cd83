"""Credentials: sealed by the key ring on the way in, opened only to build an adapter, and shown to nobody."""

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from staging import events
from staging.errors import InUse, InvalidRequest, NameTaken
from staging.models import Credential, Project
from staging.models.fields import NAME_RULE, is_name


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


def create(project: Project, name: str, secrets: Mapping[str, str]) -> Credential:
    """Keep secrets that storages may then share. Raises InvalidRequest or NameTaken."""
    if not is_name(name):
        raise InvalidRequest(f"The name {name!r} is not valid.", fields={"name": NAME_RULE})
    if not secrets:
        raise InvalidRequest("A credential needs at least one secret.")
    try:
        with transaction.atomic():
            credential = store(Credential(project=project, name=name), secrets)
            events.record(project, "credential.created", name, fields=sorted(secrets))
    except IntegrityError as exc:
        raise NameTaken(f"A credential named {name!r} exists in this project.") from exc
    return credential


def delete(credential: Credential) -> None:
    """Forget the secrets for good. Raises InUse naming the storages that need them."""
    users = list(credential.storages.values_list("name", flat=True)[:5])
    if users:
        raise InUse(f"The credential {credential.name} is used by the storages {', '.join(users)}.")
    with transaction.atomic():
        events.record(credential.project_id, "credential.deleted", credential.name)
        credential.delete()


def reseal_all() -> int:
    """Seal every credential by the ring's newest key; returns how many there were."""
    ring, count = _ring(), 0
    for credential in Credential.objects.iterator():
        sealed = ring.rotate(bytes(credential.sealed))
        count += Credential.objects.filter(pk=credential.pk, revision=credential.revision).update(sealed=sealed)
    return count
