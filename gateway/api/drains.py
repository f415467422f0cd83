"""Drains: a storage is emptied of its objects' bytes, which stay readable all the while."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import one
from gateway.api.fields import Body, Name
from gateway.api.storages import StorageEndpoint
from staging import drains
from staging.models import Storage
from staging.states import StorageState


class DrainBody(Body):
    """Where the copies are moved."""

    to = Name(help_text="Another storage of the project, which is active.")


class DrainAnswer(serializers.Serializer[Any]):
    """How far it is. Mounted buckets mirror what lies there and stay; `objects` names the first 1,000 that are left."""

    state = serializers.ChoiceField(StorageState.choices)
    to = serializers.CharField(allow_null=True)
    replicas = serializers.IntegerField(help_text="Copies that are left.")
    bytes = serializers.IntegerField(help_text="Their bytes.")
    uploads = serializers.IntegerField(help_text="Uploads that have not ended.")
    mounted = serializers.ListField(child=serializers.CharField())
    objects = serializers.ListField(child=serializers.CharField())


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
        drains.start(storage, one(self.project.storages.all(), name=DrainBody.of(request)["to"]))
        return Response(_answer(self.storage(name)), status=202)

    @extend_schema(tags=["storages"], operation_id="cancelDrain", responses=DrainAnswer)
    def delete(self, _request: Request, name: str) -> Response:
        """Stop, and take new bytes again. What was moved stays where it is."""
        storage = self.storage(name)
        drains.cancel(storage)
        return Response(_answer(storage))


def _answer(storage: Storage) -> dict[str, Any]:
    left = drains.progress(storage)
    answer = {"state": storage.state, "to": storage.drain_to.name if storage.drain_to else None}
    counts = {"replicas": left.replicas, "bytes": left.bytes, "uploads": left.uploads, "mounted": left.mounted}
    return {**answer, **counts, "objects": list(drains.left(storage))}
