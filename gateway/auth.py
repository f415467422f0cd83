"""Who calls the control plane: an API key of one project, or a signed-in user who names the project.

Every view of the API asks ``caller(request)`` for the project; nothing is ever looked up outside it.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from staging.models import ApiKey, Membership, Project
from staging.states import Role

_PREFIX = "wbk"
#: ``last_used_at`` is written at most this often, so that a busy key does not cost a write each call.
_USE_NOTED_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Caller:
    """The project a call is about, the caller's role in it, and the key it came with (None for a session)."""

    project: Project
    role: Role
    key: ApiKey | None


def issue_key(
    project: Project,
    role: Role,
    *,
    label: str,
    created_by: AbstractBaseUser | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its text is returned this once and cannot be shown again."""
    public_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        public_id=public_id,
        secret_sha256=_digest(secret),
        project=project,
        role=role,
        label=label,
        created_by=created_by,
        expires_at=expires_at,
    )
    return key, f"{_PREFIX}_{public_id}_{secret}"


def caller(request: Request) -> Caller:
    """The caller that ``HasProject`` let in."""
    found: Caller = request._request.waybill_caller  # type: ignore[attr-defined]
    return found


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer wbk_…``."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        prefix, _, rest = text.strip().partition("_")
        public_id, _, secret = rest.partition("_")
        key = (
            ApiKey.objects.select_related("project").filter(public_id=public_id).first() if prefix == _PREFIX else None
        )
        if key is None or not hmac.compare_digest(key.secret_sha256, _digest(secret)):
            raise AuthenticationFailed("This API key is not known.")
        now = timezone.now()
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise AuthenticationFailed("This API key was revoked or has expired.")
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_NOTED_EVERY)
        if key.last_used_at is None or key.last_used_at < now - _USE_NOTED_EVERY:
            ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasProject(BasePermission):
    """Finds the caller's project and role, and refuses what the role may not do.

    A view names what it needs in ``roles``, by method; without an entry, reading needs VIEWER and all else ADMIN.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        found = _from_key(request) or _from_session(request)
        if found is None:
            return False
        request._request.waybill_caller = found  # type: ignore[attr-defined]
        default = Role.VIEWER if request.method in SAFE_METHODS else Role.ADMIN
        return found.role.allows(getattr(view, "roles", {}).get(request.method, default))


def _from_key(request: Request) -> Caller | None:
    key = request.auth
    return Caller(key.project, Role(key.role), key) if isinstance(key, ApiKey) else None


def _from_session(request: Request) -> Caller | None:
    """A signed-in user's project: the one named by ``X-Waybill-Project``, or the only one there is."""
    if request.user is None or not request.user.is_authenticated:
        return None
    named = request.headers.get("X-Waybill-Project")
    memberships = Membership.objects.select_related("project").filter(user=request.user)
    if named:
        memberships = memberships.filter(project__name=named)
    found = list(memberships[:2])
    return Caller(found[0].project, Role(found[0].role), None) if len(found) == 1 else None


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes API keys."""

    target_class = "gateway.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "wbk_…"}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
