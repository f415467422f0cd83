"""Objects: listed by folder, looked at, described and deleted, in managed and mounted buckets alike."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Settings, TextMap
from gateway.api.paging import ListQuery, Pager
from gateway.api.transfers import TransferAnswer
from staging import listing, objects
from staging.errors import InvalidRequest
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
    unreachable = serializers.DictField(
        child=serializers.CharField(),
        help_text="The first names in a mounted bucket that nothing can be read from, each with why.",
    )
    next = serializers.CharField(allow_null=True)


class ReplicaAnswer(serializers.Serializer[Any]):
    """One copy of the object."""

    storage = serializers.CharField(source="storage.name")
    tier = serializers.IntegerField(source="storage.tier")
    storage_state = serializers.ChoiceField(StorageState.choices, source="storage.state")
    key = serializers.CharField()
    size = serializers.IntegerField()
    state = serializers.ChoiceField(ReplicaState.choices)
    dirty = serializers.BooleanField(help_text="Whether its bytes are still to be made safe elsewhere.")
    verified_at = serializers.DateTimeField(allow_null=True)


class ObjectAnswer(EntryAnswer):
    """One object with its copies. `id` and `version` are null for a file that Waybill did not write."""

    bucket = serializers.CharField()
    id = serializers.UUIDField(source="record.id", allow_null=True)
    version = serializers.IntegerField(source="record.version", allow_null=True)
    content_type = serializers.CharField()
    metadata = serializers.DictField(child=serializers.CharField())
    durability = serializers.ChoiceField(Durability.choices)
    policy = serializers.DictField(help_text="What differs from the bucket's policy.")
    replicas = ReplicaAnswer(many=True)


class ObjectChange(Body):
    """What is left out stays as it is."""

    metadata = TextMap(
        required=False, nullable_values=True, max_length=16384, help_text="Sets what is given; null takes it away."
    )
    policy = Settings(required=False, help_text="Replaces what differs from the bucket's policy.")


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
    return Response({"items": items, "prefixes": page.prefixes, "unreachable": page.unreachable, "next": cursor})


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
        """Set metadata or a policy of its own; the bytes of a version never change."""
        change, bucket = ObjectChange.of(request), bucket_of(self, name)
        if not change:
            raise InvalidRequest("Nothing is to be changed.", fields={"metadata": "give it, or a policy"})
        if "policy" in change:
            objects.set_policy(bucket, key, change["policy"])
        return Response(ObjectAnswer(objects.describe(bucket, key, change.get("metadata", {}))).data)

    @extend_schema(operation_id="deleteObject", responses={202: None, 204: None})
    def delete(self, _request: Request, name: str, key: str) -> Response:
        """Delete the object. 202: gone for readers, a worker removes its bytes. 204: the mounted file is gone."""
        bytes_gone = objects.delete(bucket_of(self, name), key)
        return Response(status=204 if bytes_gone else 202)


class ExplanationAnswer(serializers.Serializer[Any]):
    """Sentences on the policy, on each copy, and on what is to come."""

    durability = serializers.ChoiceField(Durability.choices)
    policy = serializers.ListField(child=serializers.CharField())
    replicas = serializers.ListField(child=serializers.CharField())
    next = serializers.ListField(child=serializers.CharField())


@extend_schema(tags=["objects"])
class ExplainObject(Endpoint):
    """Why one object's copies are where they are."""

    @extend_schema(operation_id="explainObject", responses=ExplanationAnswer)
    def get(self, _request: Request, name: str, key: str) -> Response:
        """Why each copy is where it is, and what will happen next, in words. Of managed buckets."""
        return Response(ExplanationAnswer(objects.explain(bucket_of(self, name), key)).data)


@extend_schema(tags=["objects"])
class VerifyObject(Endpoint):
    """Whether one object's copies are what the catalog says."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="verifyObject", request=None, responses={202: TransferAnswer(many=True)})
    def post(self, _request: Request, name: str, key: str) -> Response:
        """Have every copy read back and compared; a damaged one is replaced where there is a good one."""
        queued = objects.verify(bucket_of(self, name), key)
        return Response(TransferAnswer(queued, many=True).data, status=202)


@extend_schema(tags=["objects"])
class DemoteObject(Endpoint):
    """One object without its fast copies."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="demoteObject", request=None, responses={202: TransferAnswer(many=True)})
    def post(self, _request: Request, name: str, key: str) -> Response:
        """Let the copies on fast storages go, once the bytes are where they persist; what works on that is answered.

        Nothing is left to do where the list is empty. A policy that pins a copy, or lets nothing spill, is in the way.
        """
        queued = objects.demote(bucket_of(self, name), key)
        return Response(TransferAnswer(queued, many=True).data, status=202)
