"""Buckets: namespaces with a policy."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Name, Settings, Strict, Text
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import buckets
from staging.errors import InvalidRequest
from staging.models import Bucket


class MountAnswer(serializers.Serializer[Any]):
    """The folder that a mounted bucket mirrors."""

    storage = serializers.CharField()
    prefix = serializers.CharField(allow_blank=True)


class BucketAnswer(serializers.ModelSerializer[Bucket]):
    """A bucket: managed on ``storage``, or mounted at ``mount``; the other one is null."""

    storage = serializers.SerializerMethodField()
    mount = serializers.SerializerMethodField()
    policy = serializers.DictField()

    class Meta:
        model = Bucket
        fields = ["name", "storage", "mount", "policy", "created_at"]

    def get_storage(self, bucket: Bucket) -> str | None:
        """Of a managed bucket."""
        return None if bucket.mounted else bucket.storage.name

    @extend_schema(responses=MountAnswer(allow_null=True))
    def get_mount(self, bucket: Bucket) -> dict[str, str] | None:
        """Of a mounted bucket."""
        return {"storage": bucket.storage.name, "prefix": str(bucket.prefix)} if bucket.mounted else None


class MountBody(Strict):
    """A folder of a storage to mirror, in place."""

    storage = Name()
    prefix = Text(required=False, default="", allow_blank=True)


class BucketBody(Body):
    """A bucket to make: with `storage` Waybill decides where on it the bytes lie, with `mount` they stay in place."""

    name = Name()
    storage = Name(required=False)
    mount = MountBody(required=False)
    policy = Settings(required=False, default=dict)


class BucketChange(Body):
    """A policy that replaces the one there is."""

    policy = Settings()


class Buckets(Endpoint):
    """The project's buckets."""

    creates = True

    @extend_schema(operation_id="listBuckets", parameters=[ListQuery], responses=page_of(BucketAnswer))
    def get(self, request: Request) -> Response:
        """All buckets, by name; those that begin with `~` show a storage's root."""
        page = Pager(request, ListQuery.of(request)).of(self._rows(), "name")
        return Response(answer(page, BucketAnswer))

    @extend_schema(operation_id="createBucket", request=BucketBody, responses={201: BucketAnswer})
    def post(self, request: Request) -> Response:
        """Make an empty bucket, or mount a folder as one."""
        body = BucketBody.of(request)
        mount = body.get("mount")
        if ("storage" in body) == (mount is not None):
            raise InvalidRequest("Give a storage or a mount, and not both.", fields={"storage": "or mount"})
        name = mount["storage"] if mount else body["storage"]
        spec = buckets.BucketSpec(
            name=body["name"],
            storage=one(self.project.storages.all(), name=name),
            mounted=mount is not None,
            prefix=mount["prefix"] if mount else "",
            policy=body["policy"],
        )
        return self.created(lambda: [buckets.create(self.project, spec)], self._rows(), BucketAnswer)

    def _rows(self) -> Any:
        return self.project.buckets.select_related("storage")


class OneBucket(Endpoint):
    """One bucket."""

    @extend_schema(operation_id="getBucket", responses=BucketAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """Where it lies and its policy."""
        return Response(BucketAnswer(self._bucket(name)).data)

    @extend_schema(operation_id="changeBucket", request=BucketChange, responses=BucketAnswer)
    def patch(self, request: Request, name: str) -> Response:
        """Replace the policy; it applies to requests that begin from now on."""
        bucket = self._bucket(name)
        buckets.set_policy(bucket, BucketChange.of(request)["policy"])
        return Response(BucketAnswer(bucket).data)

    @extend_schema(operation_id="deleteBucket", responses={204: None})
    def delete(self, _request: Request, name: str) -> Response:
        """Remove a bucket that holds nothing and that no live alias names."""
        buckets.delete(self._bucket(name))
        return Response(status=204)

    def _bucket(self, name: str) -> Bucket:
        return one(self.project.buckets.select_related("storage"), name=name)
