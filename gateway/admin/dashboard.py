"""The first page: how full, how busy, what went wrong, what happened last. A dozen small queries, whatever the size."""

from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from adapters import registry
from gateway.admin import access, attention, progress, words
from gateway.admin.event import event_badge
from gateway.admin.usage import bar
from staging import aliases, copy_progress
from staging.models import Alias, CopyJob, Event, Object, Project, Storage, Transfer, Upload
from staging.states import AliasMode, AliasState, CopyState, Role, StorageState, TransferState

#: Counting stops here, so that a catalog of many millions does not make the page slow.
_COUNTED = 100_000
_STORAGES, _LINES = 12, 8


def context(request: HttpRequest, shown: dict[str, Any]) -> dict[str, Any]:
    """What ``admin/index.html`` shows, of the person's projects only."""
    mine = access.projects(request)
    stores = Storage.objects.filter(project__in=mine).select_related("project").order_by("tier", "name")
    transfers = Transfer.objects.filter(project__in=mine)
    uploads = Upload.objects.filter(alias__project__in=mine).select_related("alias__bucket", "storage")
    events = Event.objects.filter(project__in=mine)[:_LINES]
    listed, counts = list(stores), _transfer_counts(transfers)
    several = access.sees_several(request)
    return {
        **shown,
        "title": "Dashboard",
        "cards": [
            _objects(Object.objects.filter(bucket__project__in=mine, current=True), listed),
            _aliases(Alias.objects.filter(aliases.in_state(AliasState.LIVE), project__in=mine)),
            _transfers(counts),
            _uploads(uploads),
        ],
        "attention": attention.lines(request, mine, listed),
        "copies": [_copy(row) for row in _running_copies(mine)],
        "copies_url": f"{reverse('admin:staging_copyjob_changelist')}?state__exact={CopyState.RUNNING}",
        "storages": [_storage(row, several) for row in listed[:_STORAGES]],
        "more_storages": max(0, len(listed) - _STORAGES),
        "storages_url": reverse("admin:staging_storage_changelist"),
        "may_register": access.allows(request, Role.ADMIN),
        "running": [_running(row) for row in transfers.filter(state=TransferState.RUNNING)[:_LINES]],
        "running_url": _transfers_in(TransferState.RUNNING),
        "failed": [_transfer(row) for row in transfers.filter(state=TransferState.FAILED)[:_LINES]],
        "failed_count": counts[TransferState.FAILED],
        "failed_url": _transfers_in(TransferState.FAILED),
        "uploads": [_upload(row) for row in uploads.order_by("-created_at")[:_LINES]],
        "events": [
            {"kind": event_badge(row.kind), "subject": row.subject, "when": words.ago(row.created_at)} for row in events
        ],
    }


def _counted(rows: QuerySet[Any]) -> str:
    count = rows.order_by()[: _COUNTED + 1].count()
    return f"{count:,}" if count <= _COUNTED else f"over {_COUNTED:,}"


def _objects(rows: QuerySet[Object], stores: list[Storage]) -> dict[str, Any]:
    return {
        "title": "Objects",
        "icon": "description",
        "figure": _counted(rows),
        "note": f"{words.size(sum(row.used_bytes for row in stores))} on {len(stores)} storages",
        "url": reverse("admin:staging_object_changelist"),
    }


def _aliases(rows: QuerySet[Alias]) -> dict[str, Any]:
    by_mode = dict(rows.order_by().values_list("mode").annotate(count=Count("pk")))
    read = sum(count for mode, count in by_mode.items() if AliasMode(mode).reads)
    return {
        "title": "Live aliases",
        "icon": "link",
        "figure": f"{sum(by_mode.values()):,}",
        "note": f"{read:,} read, {sum(by_mode.values()) - read:,} write",
        "url": f"{reverse('admin:staging_alias_changelist')}?state=live",
    }


def _transfer_counts(rows: QuerySet[Transfer]) -> dict[str, int]:
    states = (TransferState.RUNNING, TransferState.QUEUED, TransferState.FAILED)
    counts = dict(rows.filter(state__in=states).order_by().values_list("state").annotate(count=Count("pk")))
    return {state: counts.get(state, 0) for state in states}


def _transfers(counts: dict[str, int]) -> dict[str, Any]:
    failed = counts[TransferState.FAILED]
    return {
        "title": "Transfers",
        "icon": "swap_horiz",
        "figure": f"{counts[TransferState.RUNNING]:,} running",
        "note": f"{counts[TransferState.QUEUED]:,} waiting, {failed:,} failed",
        "alarm": failed > 0,
        "url": _transfers_in(TransferState.FAILED) if failed else reverse("admin:staging_transfer_changelist"),
    }


def _transfers_in(state: TransferState) -> str:
    return f"{reverse('admin:staging_transfer_changelist')}?state__exact={state}"


def _uploads(rows: QuerySet[Upload]) -> dict[str, Any]:
    now = timezone.now()
    alive, left = rows.filter(lease_expires_at__gt=now).count(), rows.filter(lease_expires_at__lte=now).count()
    return {
        "title": "Uploads under way",
        "icon": "upload",
        "figure": f"{alive:,}",
        "note": f"{left:,} broken off, for the janitor" if left else "none left behind",
        "url": reverse("admin:staging_upload_changelist"),
    }


def _storage(row: Storage, several: bool) -> dict[str, Any]:
    return {
        "name": f"{row.project} / {row}" if several else str(row),
        "url": reverse("admin:staging_storage_change", args=[row.pk]),
        "kind": registry.describe_registered(row.scheme).title,
        "tier": f"Tier {row.tier}",
        "state": words.badge(row.state),
        "alarm": _alarm(row),
        "bar": bar(row),
    }


def _alarm(row: Storage) -> str:
    if row.failing_since:
        return "It fails and is left alone for a while"
    if row.state == StorageState.DRAINING and row.drain_is_late:
        return "Its drain is late"
    return "The last test failed" if row.tested_at and not row.test_passed else ""


def _transfer(row: Transfer) -> dict[str, Any]:
    return {
        "label": row.label,
        "url": reverse("admin:staging_transfer_change", args=[row.pk]),
        "error": ", last ".join(dict.fromkeys(filter(None, [row.error_code, row.last_error_code]))),
        "when": words.ago(row.finished_at or row.created_at),
    }


def _running(row: Transfer) -> dict[str, Any]:
    told = progress.of_transfer(row)
    return {
        "label": row.label,
        "url": reverse("admin:staging_transfer_change", args=[row.pk]),
        "kind": row.kind,
        "percent": told["percent"],
        "pace": told["pace"],
    }


def _running_copies(mine: QuerySet[Project]) -> QuerySet[CopyJob]:
    rows = CopyJob.objects.filter(project__in=mine, state=CopyState.RUNNING)
    return copy_progress.with_counts(rows.select_related("source_bucket", "target_bucket"))[:_LINES]


def _copy(row: CopyJob) -> dict[str, Any]:
    told = progress.of_copy(row)
    return {
        "label": str(row),
        "url": reverse("admin:staging_copyjob_change", args=[row.pk]),
        "kind": "move" if row.moves else "copy",
        "percent": told["percent"],
        "pace": told["pace"],
    }


def _upload(row: Upload) -> dict[str, Any]:
    return {
        "label": f"{row.alias.bucket}/{row.alias.key}",
        "url": reverse("admin:staging_upload_change", args=[row.pk]),
        "size": "size not declared" if row.declared_size is None else words.size(row.declared_size),
        "when": words.ago(row.created_at),
    }
