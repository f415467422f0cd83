"""Lateness: an upload whose writer is gone replaces nothing that came, or was deleted, after it began."""

from django.db.models import Q

from adapters.errors import NotFound
from staging.connections import release
from staging.models import Alias, Object, Upload
from staging.storages import adapter_for


def is_outdated(alias: Alias, upload: Upload) -> bool:
    """Whether something came to the upload's key, or was deleted there, after the upload began, by whomever."""
    versions = Object.objects.filter(bucket=alias.bucket, key=upload.target_key)
    if versions.filter(Q(created_at__gt=upload.created_at) | Q(retired_at__gt=upload.created_at)).exists():
        return True
    if not alias.bucket.mounted:
        return False
    adapter = adapter_for(alias.bucket.storage)
    release()
    try:
        found = adapter.stat(f"{alias.bucket.prefix}{upload.target_key}")
    except NotFound:
        return False
    return found.modified is not None and found.modified > upload.created_at
