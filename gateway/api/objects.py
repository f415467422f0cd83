"""Objects: listed by folder, looked at, described and deleted, in managed and mounted buckets alike."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, TextMap
from gateway.api.paging import ListQuery, Pager
from staging import listing, objects
from staging.listing import Entry
from staging.models import Bucket
from staging.objects import Known
from staging.states import Durability, ObjectState, ReplicaState, Role, StorageState


class DigestsAnswer(serializers.Serializer[Any]):
    """Digests in hex; of what Waybill did not write itself none is known."""

    sha256 = serializers.CharField(required=False)


class EntryAnswer(serializers.Serializer[Entry]):
    """One object of a listing. A file that is mounted in place has no version and no digests here."""

    key = serializers.CharField()
    size = serializers.IntegerField()
    digests = serializers.SerializerMethodField()
    version = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(ObjectState.choices)
    modified_at = serializers.DateTimeField(source="modified", allow_null=True)

    @extend_schema(responses=DigestsAnswer)
    def get_digests(self, entry: Entry | Known) -> dict[str, str]:
        """By name."""
        return {"sha256": entry.sha256} if entry.sha256 else {}


class ObjectsPage(serializers.Serializer[Any]):
    """One page; `items` and `prefixes` together are at most `limit`, and go on together at `next`."""

    items = EntryAnswer(many=True)
    prefixes = serializers.ListField(child=serializers.CharField(), help_text="Folders, each ending in `/`.")
    next = serializers.CharField(allow_null=True)


class ReplicaAnswer(serializers.Serializer[Any]):
    """One copy of the object."""

    storage = serializers.CharField(source="storage.name")
    tier = serializers.IntegerField(source="storage.tier")
    storage_state = serializers.ChoiceField(StorageState.choices, source="storage.state")
    key = serializers.CharField()
    size = serializers.IntegerField()
    state = serializers.ChoiceField(ReplicaState.choices)
    verified_at = serializers.DateTimeField(allow_null=True)


class ObjectAnswer(EntryAnswer):
    """One object with its copies. `id` and `version` are null for a file that Waybill did not write."""

    bucket = serializers.CharField()
    id = serializers.UUIDField(source="record.id", allow_null=True)
    version = serializers.IntegerField(source="record.version", allow_null=True)
    content_type = serializers.CharField()
    metadata = serializers.DictField(child=serializers.CharField())
    durability = serializers.ChoiceField(Durability.choices)
    replicas = ReplicaAnswer(many=True)


class ObjectChange(Body):
    """Metadata to set."""

    metadata = TextMap(nullable_values=True, max_length=16384, help_text="Sets what is given; null takes it away.")


class ObjectsQuery(ListQuery):
    """Which objects to list."""

    prefix = serializers.CharField(required=False, default="", allow_blank=True, trim_whitespace=False)
    delimiter = serializers.ChoiceField(
        ["", "/"], required=False, default="", help_text="`/` folds what lies deeper into prefixes."
    )


def bucket_of(endpoint: Endpoint, name: str) -> Bucket:
    """The bucket with all that reaching its storage needs. Raises NotFound."""
    return one(endpoint.project.buckets.select_related("storage__credential"), name=name)


def list_objects(endpoint: Endpoint, bucket_name: str) -> Response:
    """The page of a bucket that the endpoint's request asks for."""
    query = ObjectsQuery.of(endpoint.request)
    pager, wanted = Pager(endpoint.request, query), query.validated_data
    page = listing.page(
        bucket_of(endpoint, bucket_name),
        wanted["prefix"],
        folded=wanted["delimiter"] == "/",
        after=pager.position[0] if pager.position else "",
        limit=pager.limit,
    )
    items = EntryAnswer(page.objects, many=True).data
    cursor = pager.cursor([page.after]) if page.after else None
    return Response({"items": items, "prefixes": page.prefixes, "next": cursor})


@extend_schema(tags=["objects"])
class Objects(Endpoint):
    """What a bucket holds."""

    @extend_schema(operation_id="listObjects", parameters=[ObjectsQuery], responses=ObjectsPage)
    def get(self, _request: Request, name: str) -> Response:
        """Objects by key, in the order of their UTF-8 bytes. A mounted bucket is asked live."""
        return list_objects(self, name)


@extend_schema(tags=["objects"])
class OneObject(Endpoint):
    """One object."""

    roles = {"PATCH": Role.OPERATOR, "DELETE": Role.OPERATOR}

    @extend_schema(operation_id="getObject", responses=ObjectAnswer)
    def get(self, _request: Request, name: str, key: str) -> Response:
        """Size, digests, metadata, durability and replicas."""
        return Response(ObjectAnswer(objects.look(bucket_of(self, name), key)).data)

    @extend_schema(operation_id="describeObject", request=ObjectChange, responses=ObjectAnswer)
    def patch(self, request: Request, name: str, key: str) -> Response:
        """Set metadata; the bytes of a version never change."""
        metadata = ObjectChange.of(request)["metadata"]
        return Response(ObjectAnswer(objects.describe(bucket_of(self, name), key, metadata)).data)

    @extend_schema(operation_id="deleteObject", responses={202: None, 204: None})
    def delete(self, _request: Request, name: str, key: str) -> Response:
        """Delete the object. 202: gone for readers, a worker removes its bytes. 204: the mounted file is gone."""
        bytes_gone = objects.delete(bucket_of(self, name), key)
        return Response(status=204 if bytes_gone else 202)
