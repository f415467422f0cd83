"""`manage.py bootstrap`: a first project, administrator and API key. What exists already is left as it is."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from staging import api_keys, projects
from staging.models import ApiKey, Project
from staging.states import Role


class Command(BaseCommand):
    """Safe to run at every start."""

    help = (
        "Make the project 'default' with a local storage and a bucket 'scratch', a first administrator (its password "
        "is printed once) and an API key (left in DATA_DIR/quickstart.env, readable by its owner only)."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        project = projects.first_project()
        password = secrets.token_urlsafe(12)
        if projects.first_administrator(project, password):
            self.stdout.write(f"First administrator: user 'admin', password '{password}' (shown this once)")
        path = settings.DATA_DIR / "quickstart.env"
        if not _key_works(path, project):
            _, text = api_keys.issue_key(project, Role.ADMIN, label="quickstart")
            _write(path, f"WAYBILL_URL={settings.PUBLIC_URL}\nWAYBILL_KEY={text}\n")
        else:
            _write(path, f"WAYBILL_URL={settings.PUBLIC_URL}\nWAYBILL_KEY={_values(path)['WAYBILL_KEY']}\n")
        self.stdout.write(f"API key: in {path}")


def _key_works(path: Path, project: Project) -> bool:
    """Whether the file's key is one of this database, so that a changed DATABASE_URL gets a new one."""
    if not path.exists():
        return False
    public_id = _values(path).get("WAYBILL_KEY", "").split("_")[1:2]
    return ApiKey.objects.filter(public_id__in=public_id, project=project, revoked_at=None).exists()


def _values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def _write(path: Path, text: str) -> None:
    """Readable by its owner from the first byte on, and whole at any moment."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
