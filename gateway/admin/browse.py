"""The page that shows what a bucket holds, or lies on a storage, a folder at a time."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin

from adapters.errors import AdapterError
from gateway.admin import access, words
from staging import listing
from staging.errors import StagingError
from staging.models import Bucket, Object
from staging.states import Role

_PAGE = 200


def browse_page(admin: ModelAdmin, request: HttpRequest, shown: Model, bucket: Bucket) -> HttpResponse:
    """One page of the folder ``?prefix=``, behind ``?after=``. What the storage refuses is shown in its place.

    ``shown``: the bucket itself, or the storage that the bucket is the root of.
    """
    prefix, after = request.GET.get("prefix", ""), request.GET.get("after", "")
    page, problem = listing.Page([], [], ""), ""
    try:
        page = listing.page(bucket, prefix, folded=True, after=after, limit=_PAGE)
    except (StagingError, AdapterError) as exc:
        problem = str(exc)
    may_operate = access.allows(request, Role.OPERATOR, bucket.project_id)
    known = _objects(bucket, [entry.key for entry in page.objects])
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "original": shown,
        "title": f"Browse {shown}",
        "shown": shown,
        "shown_url": reverse(f"admin:staging_{admin.opts.model_name}_change", args=[shown.pk]),
        "way": _way(prefix),
        "folders": [{"name": _name(key, prefix), "query": urlencode({"prefix": key})} for key in page.prefixes],
        "files": [_file(entry, prefix, bucket if may_operate else None, known) for entry in page.objects],
        "deeds": _deeds(bucket, prefix) if may_operate and not problem else [],
        "next": urlencode({"prefix": prefix, "after": page.after}) if page.after else "",
        "problem": problem,
        "unreachable": page.unreachable,
    }
    return TemplateResponse(request, "admin/staging/browse.html", context)


def _objects(bucket: Bucket, keys: list[str]) -> dict[str, str]:
    """The pages of those that are rows, by key."""
    rows = Object.objects.filter(bucket=bucket, current=True, key__in=keys).values_list("key", "pk")
    return {key: reverse("admin:staging_object_change", args=[pk]) for key, pk in rows}


def _deeds(bucket: Bucket, prefix: str) -> list[dict[str, str]]:
    """What can be begun with all of this folder: forms that know it already."""
    copy = urlencode({"source_bucket": bucket.pk, "source_key": prefix})
    deeds = [{"name": "Copy or move this folder", "url": f"{reverse('admin:staging_copyjob_add')}?{copy}"}]
    if not bucket.mounted:
        kept = urlencode({"bucket": bucket.pk, "prefix": prefix})
        deeds.append({"name": "Make a checkpoint", "url": f"{reverse('admin:staging_checkpoint_add')}?{kept}"})
    alias = urlencode({"bucket": bucket.pk, "key": prefix, "mode": "read-prefix"})
    return [*deeds, {"name": "Make an alias", "url": f"{reverse('admin:staging_alias_add')}?{alias}"}]


def _way(prefix: str) -> list[dict[str, str]]:
    """The folders from the root to this one, each with its own link."""
    parts = prefix.split("/")[:-1]
    return [
        {"name": part, "query": urlencode({"prefix": "/".join(parts[: depth + 1]) + "/"})}
        for depth, part in enumerate(parts)
    ]


def _name(key: str, prefix: str) -> str:
    return key.removeprefix(prefix[: prefix.rfind("/") + 1])


def _file(entry: listing.Entry, prefix: str, bucket: Bucket | None, known: dict[str, str]) -> dict[str, Any]:
    """``bucket`` None: the person may make no alias."""
    query = urlencode({"bucket": bucket.pk, "key": entry.key, "mode": "read"}) if bucket else ""
    return {
        "name": _name(entry.key, prefix),
        "url": known.get(entry.key, ""),
        "size": words.size(entry.size),
        "modified": words.ago(entry.modified) if entry.modified else words.NOTHING,
        "alias": f"{reverse('admin:staging_alias_add')}?{query}" if query else "",
    }
