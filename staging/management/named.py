"""What the arguments of commands name."""

from django.core.management.base import CommandError

from staging.models import Node, Storage


def storage(project: str, name: str) -> Storage:
    """The storage of a project, both by name. Raises CommandError."""
    found = Storage.objects.filter(project__name=project, name=name).select_related("project", "node").first()
    if found is None:
        raise CommandError(f"The project {project} has no storage {name}.")
    return found


def node(name: str) -> Node:
    """The node. Raises CommandError."""
    found = Node.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no node {name}.")
    return found
