"""Memberships: what a signed-in user may do in which project. A superuser may do everything everywhere."""

from django.contrib.auth.models import User
from django.db.models import QuerySet

from staging.models import Membership, Project
from staging.states import Role


def roles_of(user: User) -> dict[int, Role]:
    """The user's role by project id. Nothing for those who are no members, superusers included."""
    rows = Membership.objects.filter(user=user).values_list("project_id", "role")
    return {project_id: Role(role) for project_id, role in rows}


def projects_of(user: User, needed: Role = Role.VIEWER) -> QuerySet[Project]:
    """The projects in which the user may do what ``needed`` may."""
    if user.is_superuser:
        return Project.objects.all()
    enough = [role for role in Role if role.allows(needed)]
    return Project.objects.filter(memberships__user=user, memberships__role__in=enough)
