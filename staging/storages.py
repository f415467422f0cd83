"""Storages: the one place that builds adapters; also how storages are registered, changed and tested."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from adapters import registry
from adapters.base import Adapter, CheckStep
from adapters.breaker import Health
from adapters.watch import Observe
from staging import credentials, events, health, local_roots, nodes, placement, policies, retiring
from staging.connections import release
from staging.errors import InUse, InvalidRequest, NameTaken, StorageUnusable
from staging.models import Bucket, Credential, Node, Project, Storage
from staging.models.fields import NAME_RULE, is_name
from staging.states import StorageState

#: Told of every call to a storage; the process that serves metrics sets it before the first adapter is built.
observe: Observe | None = None

_built: dict[int, tuple[tuple[int, int], Adapter]] = {}
_building = threading.Lock()


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """What a caller registers. ``secrets`` are sealed at once; ``credential`` names one that exists instead."""

    name: str
    scheme: str
    options: Mapping[str, Any]
    secrets: Mapping[str, str] | None = None
    credential: Credential | None = None
    tier: int = 2
    capacity_bytes: int | None = None
    site: str = ""
    node: Node | None = None
    max_transfers: int = 4


def adapter_for(storage: Storage) -> Adapter:
    """The storage's adapter, shared by all threads of the process and rebuilt when its settings or credential change.

    ``storage`` should come with its credential selected, so that a hit asks the database nothing. Raises
    StorageUnusable, and StorageGone for one that was given up, which is never asked for anything.
    """
    placement.refuse_gone(storage)
    credential = storage.credential
    if credential:
        health.note_use(credential)
    revision = (storage.revision, credential.revision if credential else 0)
    found = _built.get(storage.pk)
    # A row that was read before a rotation never brings the old secrets back.
    if found and found[0] >= revision:
        return found[1]
    with _building:
        found = _built.get(storage.pk)
        if found and found[0] >= revision:
            return found[1]
        try:
            secrets = credentials.unseal(credential) if credential else {}
            adapter = registry.build(*nodes.seen_from_here(storage, secrets), observe=observe)
        except (InvalidRequest, ValueError) as exc:
            raise StorageUnusable(f"The storage {storage.name} cannot be used: {exc}") from exc
        adapter.breaker = health.breaker_for(storage)
        _built[storage.pk] = (revision, adapter)
    if found:
        found[1].close()
    return adapter


def close_adapters() -> None:
    """Close the idle connections of every adapter of this process."""
    with _building:
        adapters = [adapter for _, adapter in _built.values()]
        _built.clear()
        health.forget_all()
    for adapter in adapters:
        adapter.close()


def schemes() -> tuple[str, ...]:
    """The kinds of storage that may be registered: those whose bytes the workers and other gateways reach as well."""
    return tuple(kind for kind in registry.schemes() if settings.MEMORY_STORAGES or registry.is_shared(kind))


def root_bucket_name(storage_name: str) -> str:
    """The name of the mounted bucket that shows the whole of a storage."""
    return f"~{storage_name}"


def create(project: Project, spec: StorageSpec) -> Storage:
    """Register a storage, seal its secrets and mount its root.

    Raises InvalidRequest or NameTaken; nothing is left then.
    """
    if not is_name(spec.name):
        raise InvalidRequest(f"The name {spec.name!r} is not valid.", fields={"name": NAME_RULE})
    if spec.credential and spec.credential.project_id != project.pk:
        raise InvalidRequest("The credential cannot be used.", fields={"credential": "it belongs to another project"})
    options, secrets = _validated(project, spec.scheme, spec.options, _secrets_of(spec), spec.node)
    storage = Storage(
        project=project,
        name=spec.name,
        scheme=spec.scheme,
        options=options,
        credential=spec.credential,
        tier=spec.tier,
        capacity_bytes=spec.capacity_bytes,
        site=spec.site,
        node=spec.node,
        max_transfers=spec.max_transfers,
    )
    try:
        with transaction.atomic():
            if secrets and spec.credential is None:
                storage.credential = credentials.store(Credential(project=project, name=spec.name), secrets)
            storage.save()
            Bucket.objects.create(
                project=project, name=root_bucket_name(spec.name), storage=storage, mounted=True, prefix=""
            )
            events.record(project, "storage.created", spec.name, scheme=spec.scheme, tier=spec.tier)
    except IntegrityError as exc:
        raise NameTaken(f"A storage or credential named {spec.name!r} exists in this project.") from exc
    return storage


def update(storage: Storage, *, options: Mapping[str, Any] | None, secrets: Mapping[str, str] | None) -> Storage:
    """Replace the options, some of the secrets, or both; None leaves them, an empty secret goes.

    Adapters notice by the revisions. Raises InvalidRequest, also where other storages share the credential, and
    NameTaken where one of the storage's name belongs to others.
    """
    kept = credentials.unseal(storage.credential) if storage.credential else {}
    new_options, new_secrets = _validated(
        storage.project,
        storage.scheme,
        storage.options if options is None else options,
        {**kept, **(secrets or {})},
        storage.node,
    )
    if secrets and storage.credential and storage.credential.storages.exclude(pk=storage.pk).exists():
        problem = f"other storages share it; rotate the credential {storage.credential.name} itself"
        raise InvalidRequest("The credential is shared.", fields={"credential": problem})
    try:
        with transaction.atomic():
            if secrets:
                credential = storage.credential or Credential(project=storage.project, name=storage.name)
                storage.credential = credentials.store(credential, new_secrets)
            storage.options = new_options
            storage.revision += 1
            storage.save(update_fields=["options", "credential", "revision"])
            events.record(storage.project_id, "storage.changed", storage.name)
    except IntegrityError as exc:
        raise NameTaken(f"A credential named {storage.name!r} exists in this project.") from exc
    return storage


def rotate(credential: Credential, changed: Mapping[str, str]) -> None:
    """Replace the secrets that are given and keep the others; an empty one goes.

    Raises InvalidRequest naming the storage that could not use them; the old ones stay then.
    """
    secrets = {name: secret for name, secret in {**credentials.unseal(credential), **changed}.items() if secret}
    for storage in credential.storages.all():
        _try_settings(storage.scheme, storage.options, secrets, f"The storage {storage.name} could not use these.")
    with transaction.atomic():
        credentials.store(credential, secrets)
        events.record(credential.project_id, "credential.rotated", credential.name, fields=sorted(changed))


def resize(storage: Storage, *, tier: int, capacity_bytes: int | None) -> None:
    """Change the tier and the capacity (None: no limit). Raises InvalidRequest below what is used and reserved."""
    fits = Storage.objects.filter(pk=storage.pk)
    if capacity_bytes is not None:
        fits = fits.annotate(taken=F("used_bytes") + F("reserved_bytes")).filter(taken__lte=capacity_bytes)
    if not fits.update(tier=tier, capacity_bytes=capacity_bytes):
        problem = "less than what is used and reserved on the storage"
        raise InvalidRequest("The capacity is too small.", fields={"capacity_bytes": problem})
    storage.tier, storage.capacity_bytes = tier, capacity_bytes


def place(storage: Storage, *, site: str, max_transfers: int) -> None:
    """Say where it stands, for policies that spread copies, and how many transfers may run there at once."""
    Storage.objects.filter(pk=storage.pk).update(site=site, max_transfers=max_transfers)
    storage.site, storage.max_transfers = site, max_transfers


def give(storage: Storage, node: Node | None) -> None:
    """Say which node's disk or memory it is; None: every process reaches it by itself. Raises InvalidRequest."""
    _validated(storage.project, storage.scheme, storage.options, {}, node)
    nodes.give(storage, node)


def cordon(storage: Storage) -> bool:
    """Send no new data there; reading goes on. False where the storage was not active."""
    return _change_state(storage, StorageState.ACTIVE, StorageState.CORDONED)


def uncordon(storage: Storage) -> bool:
    """Let new data come again. False where the storage was not cordoned."""
    return _change_state(storage, StorageState.CORDONED, StorageState.ACTIVE)


def set_state(storage: Storage, wanted: StorageState) -> None:
    """Cordon or uncordon, unless it is so already. Raises InvalidRequest where the storage's state forbids it."""
    move = cordon if wanted == StorageState.CORDONED else uncordon
    if storage.state != wanted and not move(storage):
        raise InvalidRequest(f"A storage that is {storage.state} cannot become {wanted}.")


def delete(storage: Storage) -> None:
    """Forget a storage that holds nothing of Waybill's. No byte there is touched.

    Raises InUse naming what is in the way: buckets, their policies, or live aliases and uploads of its root.
    """
    root = Bucket.objects.get(storage=storage, mounted=True, name=root_bucket_name(storage.name))
    if others := list(storage.buckets.exclude(pk=root.pk).values_list("name", flat=True)[:5]):
        raise InUse(f"Buckets lie on the storage {storage.name}: {', '.join(others)}.")
    policies.refuse_named(storage)
    try:
        with transaction.atomic():
            retiring.drop_bucket(root)
            credential = storage.credential
            events.record(storage.project_id, "storage.deleted", storage.name)
            storage.delete()
            if credential and credential.name == storage.name and not credential.storages.exists():
                credential.delete()
    except IntegrityError as exc:  # ProtectedError is one too.
        raise InUse(f"The storage {storage.name} holds objects of the catalog.") from exc


def test(storage: Storage) -> list[CheckStep]:
    """Try all that Waybill needs of the storage, step by step; the first failure is the last step.

    The storage remembers the outcome as ``tested_at`` and ``test_steps``. It is tried also while it is left alone, and
    is so no longer where it passes.
    """
    adapter = adapter_for(storage)
    release()
    steps = adapter.check()
    storage.tested_at, storage.test_steps = timezone.now(), [asdict(step) for step in steps]
    Storage.objects.filter(pk=storage.pk).update(tested_at=storage.tested_at, test_steps=storage.test_steps)
    if storage.test_passed:
        health.write_change(storage.pk, Health())
        storage.failing_since = None
    return steps


def _change_state(storage: Storage, old: StorageState, new: StorageState) -> bool:
    with transaction.atomic():
        if not Storage.objects.filter(pk=storage.pk, state=old).update(state=new):
            return False
        events.record(storage.project_id, f"storage.{new}", storage.name)
    storage.state = new
    return True


def _secrets_of(spec: StorageSpec) -> Mapping[str, str]:
    if spec.secrets is not None and spec.credential is not None:
        raise InvalidRequest("Give the secrets or the name of a credential, not both.")
    return spec.secrets or (credentials.unseal(spec.credential) if spec.credential else {})


def _validated(
    project: Project, scheme: str, options: Mapping[str, Any], secrets: Mapping[str, str], node: Node | None
) -> tuple[dict[str, Any], dict[str, str]]:
    if scheme not in schemes():
        known = ", ".join(schemes())
        raise InvalidRequest(f"There is no kind of storage {scheme!r}.", fields={"scheme": f"one of {known}"})
    checked_options, checked_secrets = _try_settings(scheme, options, secrets, "The storage's settings are not valid.")
    base = registry.base_uri(scheme, checked_options)
    if placement.MANAGED_FOLDER in base.split("/"):
        raise InvalidRequest(f"The root lies within '{placement.MANAGED_FOLDER}', which belongs to managed buckets.")
    if base.startswith("file://"):
        local_roots.check(project, scheme, base, node)
    elif node is not None:
        raise InvalidRequest("Only local folders belong to nodes.", fields={"node": f"{scheme} is reached by all"})
    return checked_options, checked_secrets


def _try_settings(
    scheme: str, options: Mapping[str, Any], secrets: Mapping[str, str], complaint: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings as an adapter takes them. Raises InvalidRequest with the complaint and each field that is wrong."""
    try:
        checked_options, checked_secrets = registry.validate(scheme, options, secrets)
        registry.build(scheme, "", checked_options, checked_secrets).close()
    except registry.InvalidSettings as exc:
        raise InvalidRequest(complaint, fields=exc.problems) from exc
    except ValueError as exc:
        setting, _, problem = str(exc).partition(": ")
        raise InvalidRequest(complaint, fields={setting: problem}) from exc
    return dict(checked_options), dict(checked_secrets)
