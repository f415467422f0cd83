"""Who calls the control plane: an API key of one project, or a signed-in user who names the project.

Every view of the API asks ``caller(request)`` for the project; nothing is ever looked up outside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from staging import api_keys
from staging.models import ApiKey, Membership, Project
from staging.states import Role

if TYPE_CHECKING:
    from rest_framework.views import APIView


@dataclass(frozen=True)
class Caller:
    """The project a call is about, the caller's role in it, and the key it came with (None for a session)."""

    project: Project
    role: Role
    key: ApiKey | None


def caller(request: Request) -> Caller:
    """The caller that ``HasProject`` let in."""
    found: Caller = request._request.waybill_caller
    return found


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer wbk_…``."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        """Raises AuthenticationFailed for a bearer that is no live key."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = api_keys.find_key(text)
        if key is None:
            raise AuthenticationFailed("This API key is not known, was revoked, or has expired.")
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  DRF's signature
        """What a 401 asks for."""
        return "Bearer"


class HasProject(BasePermission):
    """Finds the caller's project and role, and refuses what the role may not do.

    A view names what it needs in ``roles``, by method; without an entry, reading needs VIEWER and all else ADMIN.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Leaves the caller on the request for ``caller``."""
        found = _from_key(request) or _from_session(request)
        if found is None:
            return False
        request._request.waybill_caller = found
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


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes API keys."""

    target_class = "gateway.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:  # noqa: ARG002  its signature
        """A bearer token."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "wbk_…"}
