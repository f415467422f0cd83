"""The page that shows what lies on a storage, a folder at a time."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin

from adapters.errors import AdapterError
from gateway.admin import access, words
from staging import listing, storages
from staging.errors import StagingError
from staging.models import Bucket, Storage
from staging.states import Role

_PAGE = 200


def browse_page(admin: ModelAdmin, request: HttpRequest, storage: Storage) -> HttpResponse:
    """One page of the folder ``?prefix=``, behind ``?after=``. What the storage refuses is shown in its place."""
    prefix, after = request.GET.get("prefix", ""), request.GET.get("after", "")
    root = Bucket.objects.select_related("storage__credential").get(
        project=storage.project_id, name=storages.root_bucket_name(storage.name)
    )
    page, problem = listing.Page([], [], ""), ""
    try:
        page = listing.page(root, prefix, folded=True, after=after, limit=_PAGE)
    except (StagingError, AdapterError) as exc:
        problem = str(exc)
    may_stage = access.allows(request, Role.OPERATOR, storage.project_id)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "original": storage,
        "title": f"Browse {storage}",
        "storage": storage,
        "storage_url": reverse("admin:staging_storage_change", args=[storage.pk]),
        "way": _way(prefix),
        "folders": [{"name": _name(key, prefix), "query": urlencode({"prefix": key})} for key in page.prefixes],
        "files": [_file(entry, prefix, root if may_stage else None) for entry in page.objects],
        "next": urlencode({"prefix": prefix, "after": page.after}) if page.after else "",
        "problem": problem,
    }
    return TemplateResponse(request, "admin/staging/storage/browse.html", context)


def _way(prefix: str) -> list[dict[str, str]]:
    """The folders from the root to this one, each with its own link."""
    parts = prefix.split("/")[:-1]
    return [
        {"name": part, "query": urlencode({"prefix": "/".join(parts[: depth + 1]) + "/"})}
        for depth, part in enumerate(parts)
    ]


def _name(key: str, prefix: str) -> str:
    return key.removeprefix(prefix[: prefix.rfind("/") + 1])


def _file(entry: listing.Entry, prefix: str, root: Bucket | None) -> dict[str, Any]:
    """``root`` None: the person may make no alias."""
    query = urlencode({"bucket": root.pk, "key": entry.key, "mode": "read"}) if root else ""
    return {
        "name": _name(entry.key, prefix),
        "size": words.size(entry.size),
        "modified": words.ago(entry.modified) if entry.modified else words.NOTHING,
        "alias": f"{reverse('admin:staging_alias_add')}?{query}" if query else "",
    }
