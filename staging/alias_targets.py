"""Alias targets: which bucket and key a caller means, by their names or by a storage's URI."""

from collections.abc import Sequence
from dataclasses import dataclass

from staging import addresses
from staging.errors import InvalidRequest, NotFound
from staging.models import Bucket, Project
from staging.storages import root_bucket_name


@dataclass(frozen=True, slots=True)
class Target:
    """Either ``bucket`` and ``key``, or the ``uri`` of an object, or of a folder, on a registered storage."""

    bucket: str = ""
    key: str = ""
    uri: str = ""
    is_prefix: bool = False


def find(project: Project, targets: Sequence[Target]) -> list[tuple[Bucket, str]]:
    """The bucket and key of each target, in order; as many queries for a thousand as for one.

    Raises NotFound for a bucket that the project does not have, AddressRefused for a URI that no storage of the
    project covers, and InvalidRequest.
    """
    registered = list(project.storages.all()) if any(target.uri for target in targets) else []
    places: list[tuple[str, str]] = []
    for target in targets:
        if bool(target.uri) == bool(target.bucket) or (target.uri and target.key):
            raise InvalidRequest(
                "Give a bucket and a key, or a uri, and not both.", fields={"uri": "or bucket and key"}
            )
        if target.uri:
            storage, key = addresses.locate(registered, target.uri, is_folder=target.is_prefix)
            places.append((root_bucket_name(storage.name), key))
        else:
            places.append((target.bucket, target.key))
    names = {name for name, _ in places}
    found = {bucket.name: bucket for bucket in project.buckets.filter(name__in=names).select_related("storage")}
    for name, _ in places:
        if name not in found:
            raise NotFound(f"There is no bucket {name!r} in this project.")
    return [(found[name], key) for name, key in places]
