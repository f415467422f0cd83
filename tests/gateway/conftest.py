"""What the tests of the API share: two projects that know nothing of each other, and a caller for each role."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from staging import aliases, api_keys, buckets, storages, writing
from staging.alias_terms import AliasSpec
from staging.buckets import BucketSpec
from staging.models import ApiKey, Bucket, Object, Project, Replica, Storage
from staging.states import AliasMode, Role
from staging.storages import StorageSpec
from staging.writing import Offer

ROLES = {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}


@dataclass
class Caller:
    """An API key, and requests made with it."""

    key: ApiKey
    text: str
    client: Client

    def __call__(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        """The answer to a request with a JSON body (or ``raw`` bytes) to an address below /api/v1/."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(
            method,
            f"/api/v1/{path}",
            data,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.text}", **named},
        )

    def get(self, path: str) -> Any:
        """The document at an address that must be there."""
        answer = self("GET", path)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def make(self, path: str, body: Any, **headers: str) -> Any:
        """What was made by a request that must succeed."""
        answer = self("POST", path, body, **headers)
        assert answer.status_code == 201, answer.content
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None, *, status: int, **how: Any) -> Any:
        """The problem of a request that must be refused with this status."""
        answer = self(method, path, body, **how)
        assert answer.status_code == status, answer.content
        assert answer["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["code"] == answer["Waybill-Error-Code"]
        return problem


@dataclass
class Lab:
    """A project with a local storage ``disk``, a managed bucket ``data`` on it, and its folder ``in`` as ``raw``."""

    project: Project
    storage: Storage
    data: Bucket
    raw: Bucket
    root: Path
    viewer: Caller
    operator: Caller
    admin: Caller

    def upload(self, key: str, content: bytes, *, bucket: Bucket | None = None) -> Object:
        """Store an object as a job would."""
        alias = aliases.create(bucket or self.data, [AliasSpec(AliasMode.WRITE, key)])[0]
        return writing.receive(alias, Offer(len(content)), io.BytesIO(content)).object

    def note(self, *keys: str) -> None:
        """Rows of objects without any bytes, for listings."""
        digest = hashlib.sha256(b"x").hexdigest()
        made = [Object(bucket=self.data, key=key, version=1, size=1, sha256=digest) for key in keys]
        Object.objects.bulk_create(made)
        Replica.objects.bulk_create(
            [Replica(object=row, storage=self.storage, key=f".waybill/{row.id}", size=1) for row in made]
        )


def make_lab(name: str, root: Path) -> Lab:
    """A project of this name with its storage in ``root``."""
    project = Project.objects.create(name=name)
    (root / "in").mkdir(parents=True)
    storage = storages.create(project, StorageSpec("disk", "local", {"root": str(root)}))
    data = buckets.create(project, BucketSpec("data", storage))
    raw = buckets.create(project, BucketSpec("raw", storage, mounted=True, prefix="in"))
    callers = {
        field: Caller(*api_keys.issue_key(project, role, label=field), Client()) for field, role in ROLES.items()
    }
    return Lab(project, storage, data, raw, root, **callers)


@pytest.fixture
def lab(db: None, settings: Any, tmp_path: Path) -> Iterator[Lab]:
    """The project under test. Tests that reach its storage need ``transactional_db`` besides."""
    settings.LOCAL_ROOTS = [tmp_path]
    yield make_lab("lab", tmp_path / "lab")
    storages.close_adapters()


@pytest.fixture
def other(lab: Lab, tmp_path: Path) -> Lab:
    """A project of somebody else, in which everything has the same names."""
    return make_lab("other", tmp_path / "other")
