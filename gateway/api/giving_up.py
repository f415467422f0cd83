"""Giving up a storage that is gone for good: what that loses, and doing it."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.drains import LeftAnswer, left_page
from gateway.api.endpoint import one
from gateway.api.fields import Body, Name, Whole
from gateway.api.paging import ListQuery, page_of
from gateway.api.storages import StorageEndpoint
from staging import giving_up
from staging.models import Storage
from staging.states import StorageState


class GiveUpBody(Body):
    """What takes its place, and how much may be lost."""

    to = Name(
        required=False,
        default=None,
        allow_null=True,
        help_text="Another storage of the project, for its buckets and for policies that name it.",
    )
    lose = Whole(
        required=False,
        default=0,
        help_text="At most so many objects may be lost: what GET told as `lost_objects`.",
    )


class GiveUpAnswer(serializers.Serializer[Any]):
    """What the catalog still has there. `objects` names the first 1,000 that can be read nowhere else, `…/give-up/lost`
    lists all; once it is given up they are lost, and what is left is forgotten step by step.
    """

    state = serializers.ChoiceField(StorageState.choices)
    given_up = serializers.BooleanField()
    to = serializers.CharField(allow_null=True)
    replicas = serializers.IntegerField(help_text="Copies of managed objects.")
    bytes = serializers.IntegerField(help_text="Their bytes.")
    uploads = serializers.IntegerField(help_text="Uploads that have not ended.")
    mounted = serializers.ListField(child=serializers.CharField(), help_text="Mounted buckets, all of which is gone.")
    lost_objects = serializers.IntegerField(help_text="Objects that can be read nowhere else.")
    lost_bytes = serializers.IntegerField()
    objects = serializers.ListField(child=serializers.CharField())


class StorageGiveUp(StorageEndpoint):
    """Giving up one storage."""

    @extend_schema(tags=["storages"], operation_id="getGiveUp", responses=GiveUpAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """What giving it up would lose, or has left to do; nothing is changed."""
        return Response(GiveUpAnswer(_told(self.storage(name))).data)

    @extend_schema(tags=["storages"], operation_id="giveUpStorage", request=GiveUpBody, responses={202: GiveUpAnswer})
    def post(self, request: Request, name: str) -> Response:
        """Give up, for good, a storage that will not come back: what has other copies gets new ones, the rest is lost.

        Refused where more than `lose` objects would be lost. No byte on the storage is touched. The answer tells what
        was there at that moment.
        """
        storage = self.storage(name)
        body = GiveUpBody.of(request)
        to = one(self.project.storages.all(), name=body["to"]) if body["to"] else None
        before = _told(storage)
        giving_up.start(storage, to=to, lose=body["lose"])
        return Response(GiveUpAnswer({**before, **_state(storage)}).data, status=202)


class GiveUpLost(StorageEndpoint):
    """What giving up a storage loses."""

    @extend_schema(
        tags=["storages"], operation_id="listGiveUpLost", parameters=[ListQuery], responses=page_of(LeftAnswer)
    )
    def get(self, request: Request, name: str) -> Response:
        """Every object that can be read nowhere else, by bucket and key."""
        return left_page(request, giving_up.rows_lost(self.storage(name)))


def _told(storage: Storage) -> dict[str, Any]:
    found = asdict(giving_up.outlook(storage))
    return {**found, **_state(storage), "objects": list(giving_up.lost(storage))}


def _state(storage: Storage) -> dict[str, Any]:
    to = storage.drain_to.name if storage.drain_to else None
    return {"state": storage.state, "given_up": storage.is_given_up, "to": to}
