"""Local roots: no credential guards a local folder, so that the operator says where those of storages may lie."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from adapters import registry
from staging.errors import InvalidRequest
from staging.models import Node, Project, Storage


def check(project: Project, scheme: str, base_uri: str, node: Node | None) -> None:
    """The folder lies where the operator allows it, and clear of other projects on its node. Raises InvalidRequest."""
    root = _folder(base_uri)
    if not any(root.is_relative_to(allowed.resolve()) for allowed in settings.LOCAL_ROOTS):
        allowed_roots = ", ".join(str(path) for path in settings.LOCAL_ROOTS)
        raise InvalidRequest(
            "A local storage must lie below one of WAYBILL_LOCAL_ROOTS.", fields={"root": f"below {allowed_roots}"}
        )
    for other in Storage.objects.filter(scheme=scheme, node=node).exclude(project=project):
        theirs = _folder(registry.base_uri(scheme, other.options))
        if root.is_relative_to(theirs) or theirs.is_relative_to(root):
            raise InvalidRequest("The folder cannot be used.", fields={"root": "it overlaps one of another project"})


def _folder(base_uri: str) -> Path:
    return Path(unquote(urlsplit(base_uri).path)).resolve()
