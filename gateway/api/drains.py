"""Drains: a storage is emptied of its objects' bytes, which stay readable all the while."""

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import one
from gateway.api.fields import Body, Name, Whole
from gateway.api.paging import ListQuery, Pager, answer, page_of
from gateway.api.storages import StorageEndpoint
from staging import drains
from staging.drain_measure import Measure
from staging.models import Replica, Storage
from staging.states import ReplicaState, StorageState


class Deadline(Whole):
    """By when it is to be over."""

    def __init__(self, **kwargs: Any) -> None:
        told = "Seconds after which `is_late` and an event tell that something is left; it goes on all the same."
        super().__init__(max_value=366 * 86400, help_text=told, **kwargs)


class DrainBody(Body):
    """Where the copies are moved."""

    to = Name(help_text="Another storage of the project, which is active.")
    deadline_s = Deadline(required=False, default=None, allow_null=True)


class Measured(serializers.Serializer[Any]):
    """How much of a drain is done; all null where none goes on."""

    began_at = serializers.DateTimeField(allow_null=True)
    replicas_at_start = serializers.IntegerField(allow_null=True, help_text="Copies that were there when it began.")
    bytes_at_start = serializers.IntegerField(allow_null=True, help_text="Their bytes.")
    replicas_done = serializers.IntegerField(
        allow_null=True, help_text="How many of these have gone, moved or deleted."
    )
    bytes_done = serializers.IntegerField(allow_null=True, help_text="Their bytes.")
    percent = serializers.IntegerField(
        allow_null=True,
        help_text="0 to 100: of the bytes that were there, and of those that came since and are still there; "
        "100 once it is over.",
    )
    bytes_per_s = serializers.IntegerField(
        allow_null=True, help_text="Of the transfers that run; where none does, since it began."
    )
    seconds_left = serializers.IntegerField(allow_null=True, help_text="At this rate.")


class DrainAnswer(Measured):
    """How far it is. Mounted buckets mirror what lies there and stay; `objects` names the first 1,000 that are left,
    `…/drain/left` lists all.
    """

    state = serializers.ChoiceField(StorageState.choices)
    to = serializers.CharField(allow_null=True)
    replicas = serializers.IntegerField(help_text="Copies that are left.")
    bytes = serializers.IntegerField(help_text="Their bytes.")
    uploads = serializers.IntegerField(help_text="Uploads that have not ended.")
    mounted = serializers.ListField(child=serializers.CharField())
    deadline = serializers.DateTimeField(allow_null=True)
    is_late = serializers.BooleanField()
    objects = serializers.ListField(child=serializers.CharField())


class LeftAnswer(serializers.Serializer[Any]):
    """One copy that is still there."""

    bucket = serializers.CharField(source="bucket_name")
    key = serializers.CharField(source="object_key")
    version = serializers.IntegerField(source="object.version")
    size = serializers.IntegerField()
    state = serializers.ChoiceField(ReplicaState.choices)
    dirty = serializers.BooleanField(help_text="Its bytes are not yet where the policy wants them to be safe.")


class StorageDrain(StorageEndpoint):
    """The drain of one storage."""

    @extend_schema(tags=["storages"], operation_id="getDrain", responses=DrainAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """What is left on the storage."""
        return Response(_answer(self.storage(name)))

    @extend_schema(tags=["storages"], operation_id="startDrain", request=DrainBody, responses={202: DrainAnswer})
    def post(self, request: Request, name: str) -> Response:
        """Take no new bytes there and move what lies there to another storage; workers do it, reads go on.

        New bytes of its buckets go there too. The storage is `drained` once nothing is left.
        """
        storage = self.storage(name)
        body = DrainBody.of(request)
        drains.start(storage, one(self.project.storages.all(), name=body["to"]), deadline_s=body["deadline_s"])
        return Response(_answer(self.storage(name)), status=202)

    @extend_schema(tags=["storages"], operation_id="cancelDrain", responses=DrainAnswer)
    def delete(self, _request: Request, name: str) -> Response:
        """Stop, and take new bytes again. What was moved stays where it is."""
        storage = self.storage(name)
        drains.cancel(storage)
        return Response(_answer(storage))


class DrainLeft(StorageEndpoint):
    """What a drain has left."""

    @extend_schema(
        tags=["storages"], operation_id="listDrainLeft", parameters=[ListQuery], responses=page_of(LeftAnswer)
    )
    def get(self, request: Request, name: str) -> Response:
        """Every copy that is still there, of old versions too, by bucket and key."""
        return left_page(request, drains.rows_left(self.storage(name)))


def left_page(request: Request, rows: QuerySet[Replica]) -> Response:
    """One page of copies, by bucket and key."""
    rows = rows.select_related("object")
    rows = rows.annotate(bucket_name=F("object__bucket__name"), object_key=F("object__key"))
    page = Pager(request, ListQuery.of(request)).of(rows, "bucket_name", "object_key", "pk")
    return Response(answer(page, LeftAnswer))


def _answer(storage: Storage) -> dict[str, Any]:
    left = drains.progress(storage)
    shown = {"state": storage.state, "to": storage.drain_to.name if storage.drain_to else None}
    counts = {"replicas": left.replicas, "bytes": left.bytes, "uploads": left.uploads, "mounted": left.mounted}
    late = {"deadline": left.deadline, "is_late": left.is_late}
    return {**shown, **counts, **late, **measured(left.measure), "objects": list(drains.left(storage))}


def measured(done: Measure | None) -> dict[str, Any]:
    """What ``Measured`` tells."""
    if done is None:
        return dict.fromkeys(Measured().fields)
    start = {"replicas_at_start": done.start.replicas, "bytes_at_start": done.start.bytes}
    gone = {"replicas_done": done.done.replicas, "bytes_done": done.done.bytes, "percent": done.percent}
    pace = {"bytes_per_s": done.bytes_per_s, "seconds_left": done.seconds_left}
    return {"began_at": done.began_at, **start, **gone, **pace}
