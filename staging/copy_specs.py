"""Copy specs: what somebody asks to have copied or moved, and what is wrong with that."""

from dataclasses import dataclass

from adapters import registry
from adapters.errors import InvalidKey
from adapters.keys import MAX_KEY_BYTES, check_key
from staging import listing, objects, placement
from staging.errors import ContentDiffers, InvalidRequest, NotFound
from staging.models import Bucket, Object, Project
from staging.states import CopyOnExists

#: What is written down of a key. One that is longer is not valid, nor is this much of it.
MOST_CHARACTERS = MAX_KEY_BYTES + 1


@dataclass(frozen=True, slots=True)
class CopySpec:
    """What a caller asks for: keys, or folders that end in ``/`` or are empty. ``moves``: the source goes then."""

    source: Bucket
    source_key: str
    target: Bucket
    target_key: str
    on_exists: CopyOnExists = CopyOnExists.FAIL
    moves: bool = False


def check(project: Project, spec: CopySpec) -> None:
    """Raises InvalidRequest, and NotFound and ContentDiffers where the catalog knows that nothing comes of it."""
    for name, bucket, key in (("from", spec.source, spec.source_key), ("to", spec.target, spec.target_key)):
        if bucket.project_id != project.pk:
            raise NotFound(f"There is no bucket {bucket.name!r} in this project.")
        whole = key.removesuffix("/")
        if (whole or key) and (problem := problem_of(bucket, whole)):
            raise InvalidRequest("A key is not valid.", fields={name: problem.detail})
    if _is_folder(spec.source_key) != _is_folder(spec.target_key):
        raise InvalidRequest("An object cannot become a folder.", fields={"to": "end both in '/', or neither"})
    here, there = _place(spec.source, spec.source_key), _place(spec.target, spec.target_key)
    if here == there or (_is_folder(spec.source_key) and (here.startswith(there) or there.startswith(here))):
        raise InvalidRequest("One lies in the other.", fields={"to": "another key, or a folder beside it"})
    for name, bucket in [("to", spec.target), *([("from", spec.source)] if spec.moves else [])]:
        if registry.is_read_only(bucket.storage.scheme):
            raise InvalidRequest("It cannot be done.", fields={name: f"{bucket.storage.name} can only be read"})
    _check_catalog(spec)


def _check_catalog(spec: CopySpec) -> None:
    """What a managed source has, and what stands in the way of one object, are known without asking any storage."""
    if spec.source.mounted:
        return
    if _is_folder(spec.source_key):
        if not listing.page(spec.source, spec.source_key, limit=1).objects:
            raise NotFound(f"There is nothing below {spec.source_key!r} in the bucket {spec.source}.")
        return
    one = objects.look(spec.source, spec.source_key)
    standing = Object.objects.filter(bucket=spec.target, key=spec.target_key, current=True).first()
    is_taken = standing is not None and (standing.size, standing.sha256) != (one.size, one.sha256)
    if is_taken and spec.on_exists == CopyOnExists.FAIL and not spec.target.mounted:
        raise ContentDiffers(f"There is an object {spec.target_key!r} of other content in the bucket {spec.target}.")


def _is_folder(key: str) -> bool:
    return not key or key.endswith("/")


def _place(bucket: Bucket, key: str) -> str:
    """The same for the same place: two mounted buckets, and two storages, may show one folder."""
    if not bucket.mounted:
        return f"bucket {bucket.pk}/{key}"
    storage = bucket.storage
    # The URI of an S3 bucket does not tell the service that it is at.
    service = storage.options.get("endpoint", "")
    return f"{service} {registry.base_uri(storage.scheme, storage.options)}{bucket.prefix}{key}"


def problem_of(bucket: Bucket, key: str) -> InvalidKey | None:
    """What is wrong with a key in the bucket; None where nothing is."""
    try:
        check_key(key)
        check_key(bucket.prefix + key)
    except InvalidKey as exc:
        return exc
    return InvalidKey("it belongs to managed buckets", key=key) if placement.is_reserved(bucket, key) else None
