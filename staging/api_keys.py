"""API keys: how they are issued and recognised. Their secrets are random, so a plain SHA-256 keeps them."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from staging import events
from staging.models import ApiKey, Project
from staging.states import Role

_PREFIX = "wbk"
#: ``last_used_at`` is written at most this often, so that a busy key does not cost a write each call.
_USE_NOTED_EVERY = timedelta(minutes=5)


def issue_key(
    project: Project,
    role: Role,
    *,
    label: str,
    created_by: User | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its text is returned this once and cannot be shown again."""
    public_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with transaction.atomic():
        key = ApiKey.objects.create(
            public_id=public_id,
            secret_sha256=_digest(secret),
            project=project,
            role=role,
            label=label,
            created_by=created_by,
            expires_at=expires_at,
        )
        events.record(project, "api_key.issued", str(key), role=role)
    return key, f"{_PREFIX}_{public_id}_{secret}"


def find_key(text: str) -> ApiKey | None:
    """The live key of this text, with its project; None where it is unknown, revoked or expired."""
    prefix, _, rest = text.strip().partition("_")
    public_id, _, secret = rest.partition("_")
    key = ApiKey.objects.select_related("project").filter(public_id=public_id).first() if prefix == _PREFIX else None
    if key is None or not hmac.compare_digest(key.secret_sha256, _digest(secret)):
        return None
    now = timezone.now()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    if key.last_used_at is None or key.last_used_at < now - _USE_NOTED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def revoke_key(key: ApiKey) -> bool:
    """End the key now and for good. False where that was done before."""
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            return False
        events.record(key.project_id, "api_key.revoked", str(key))
    return True


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
