"""Projects: how one begins."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from staging import storages
from staging.models import Bucket, Membership, Project
from staging.states import Role
from staging.storages import StorageSpec

#: What a new installation starts with.
FIRST_PROJECT, FIRST_STORAGE, FIRST_BUCKET = "default", "local", "scratch"


def first_project() -> Project:
    """The project ``default`` with a local storage and the bucket ``scratch`` on it; what exists is left as it is."""
    root = settings.DATA_DIR / "storages" / FIRST_STORAGE
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with transaction.atomic():
        project, _ = Project.objects.get_or_create(name=FIRST_PROJECT, defaults={"title": "Default project"})
        storage = project.storages.filter(name=FIRST_STORAGE).first()
        if storage is None:
            storage = storages.create(project, StorageSpec(FIRST_STORAGE, "local", {"root": str(root)}, tier=1))
        Bucket.objects.get_or_create(project=project, name=FIRST_BUCKET, defaults={"storage": storage})
    return project


def first_administrator(project: Project, password: str) -> AbstractBaseUser | None:
    """A superuser ``admin`` who is ADMIN of the project; None where there is a superuser already."""
    users = get_user_model()
    with transaction.atomic():
        if users.objects.filter(is_superuser=True).exists():
            return None
        user = users.objects.create_superuser("admin", "", password)
        Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    return user
