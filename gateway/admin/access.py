"""Access: what the signed-in person may see and do, by their role in the project that a row belongs to."""

from django.db.models import QuerySet
from django.http import HttpRequest

from staging import memberships
from staging.models import Project
from staging.states import Role


def roles(request: HttpRequest) -> dict[int, Role]:
    """The person's role by project id; asked once a request."""
    found: dict[int, Role] | None = getattr(request, "_waybill_roles", None)
    if found is None:
        found = memberships.roles_of(request.user) if request.user.is_active else {}
        request._waybill_roles = found
    return found


def allows(request: HttpRequest, needed: Role, project_id: int | None = None) -> bool:
    """Whether the person may do what ``needed`` may: in that project, or in any where none is named."""
    if request.user.is_superuser:
        return bool(request.user.is_active)
    held = roles(request)
    if project_id is None:
        return any(role.allows(needed) for role in held.values())
    return project_id in held and held[project_id].allows(needed)


def projects(request: HttpRequest, needed: Role = Role.VIEWER) -> QuerySet[Project]:
    """The projects in which the person may do what ``needed`` may."""
    return memberships.projects_of(request.user, needed)


def sees_several(request: HttpRequest) -> bool:
    """Whether rows of more than one project are shown, so that it has to be said which."""
    return len(projects(request)[:2]) > 1
