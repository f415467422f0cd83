"""The sidebar: where to go, as far as the person may."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from gateway.admin import access
from staging.states import Role


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's navigation for this person."""
    member = access.allows(request, Role.VIEWER)
    superuser = bool(request.user.is_superuser)
    groups = [
        ("", [("Dashboard", "dashboard", reverse("admin:index"), True)]),
        (
            "Data",
            [
                ("Aliases", "link", _list("alias"), member),
                ("Objects", "description", _list("object"), member),
                ("Buckets", "inventory_2", _list("bucket"), member),
                ("Checkpoints", "bookmark", _list("checkpoint"), member),
            ],
        ),
        (
            "Storages",
            [
                ("Storages", "hard_drive", _list("storage"), member),
                ("Credentials", "lock", _list("credential"), member),
                ("Nodes", "dns", _list("node"), superuser),
            ],
        ),
        (
            "Activity",
            [
                ("Transfers", "swap_horiz", _list("transfer"), member),
                ("Copy jobs", "content_copy", _list("copyjob"), member),
                ("Uploads", "upload", _list("upload"), member),
                ("Events", "history", _list("event"), member),
            ],
        ),
        (
            "People and programs",
            [
                ("Projects", "workspaces", _list("project"), member),
                ("API keys", "key", _list("apikey"), member),
                ("Users", "group", reverse("admin:auth_user_changelist"), superuser),
            ],
        ),
    ]
    return [
        {
            "title": title,
            "separator": bool(title),
            "items": [
                {"title": name, "icon": icon, "link": link, "permission": lambda _request, may=may: may}
                for name, icon, link, may in items
            ],
        }
        for title, items in groups
    ]


def _list(model: str) -> str:
    return reverse(f"admin:staging_{model}_changelist")
