"""Checkpoints: sets of versions that are kept, made safe and restored together."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.aliases import AliasAnswer
from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Name, Text, TextMap, Whole
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import alias_groups, checkpoints, placement
from staging.alias_groups import Selection
from staging.checkpoints import CheckpointSpec
from staging.models import Checkpoint, CheckpointMember
from staging.states import CheckpointState, Durability, Role


class CheckpointAnswer(serializers.ModelSerializer[Checkpoint]):
    """One checkpoint, of `prefix` in `bucket` or of the aliases with `labels`.

    `failure` names what is lost, or, while it is pending, what it waits for.
    `restoring_since` tells that a restore goes on, `released_at` that the checkpoint is being deleted.
    """

    bucket = serializers.CharField(source="bucket.name", allow_null=True, default=None)
    labels = serializers.DictField(child=serializers.CharField())
    state = serializers.ChoiceField(CheckpointState.choices)
    members = serializers.IntegerField(source="count")
    bytes = serializers.IntegerField(source="size")

    class Meta:
        model = Checkpoint
        fields = [
            "name",
            "bucket",
            "prefix",
            "labels",
            "state",
            "members",
            "bytes",
            "failure",
            "created_at",
            "completed_at",
            "restoring_since",
            "restored_at",
            "released_at",
        ]


class ProgressAnswer(serializers.Serializer[Any]):
    """What is persisted at this moment."""

    persisted = serializers.IntegerField()
    persisted_bytes = serializers.IntegerField()


class OneCheckpointAnswer(CheckpointAnswer):
    """One checkpoint, and how far it is."""

    progress = serializers.SerializerMethodField()

    class Meta(CheckpointAnswer.Meta):
        fields = [*CheckpointAnswer.Meta.fields, "progress"]

    @extend_schema(responses=ProgressAnswer)
    def get_progress(self, checkpoint: Checkpoint) -> Any:
        """Counted now."""
        return ProgressAnswer(checkpoints.progress(checkpoint)).data


class MemberAnswer(serializers.ModelSerializer[CheckpointMember]):
    """One version that is kept. `current`: nobody has deleted or replaced it since."""

    bucket = serializers.CharField(source="object.bucket.name")
    version = serializers.IntegerField(source="object.version")
    current = serializers.BooleanField(source="object.current")
    size = serializers.IntegerField(source="object.size")
    sha256 = serializers.CharField(source="object.sha256")
    durability = serializers.SerializerMethodField()

    class Meta:
        model = CheckpointMember
        fields = ["bucket", "key", "version", "current", "size", "sha256", "durability"]

    @extend_schema(responses=serializers.ChoiceField(Durability.choices))
    def get_durability(self, member: CheckpointMember) -> str:
        """The truth now."""
        return placement.durability(member.object.replicas.all())


class CheckpointBody(Body):
    """A bucket with a prefix, or the labels of aliases, which a bucket and a prefix may narrow."""

    name = Name()
    bucket = Name(required=False)
    prefix = Text(required=False, default="", allow_blank=True)
    labels = TextMap(required=False, max_length=255, allow_empty=False, default=dict)


class MemberAliasBody(Body):
    """A member by its bucket and key."""

    bucket = Name()
    key = Text()
    lifetime_s = Whole(required=False, min_value=1)


class Checkpoints(Endpoint):
    """The project's checkpoints."""

    roles = {"POST": Role.OPERATOR}
    creates = True

    @extend_schema(operation_id="listCheckpoints", parameters=[ListQuery], responses=page_of(CheckpointAnswer))
    def get(self, request: Request) -> Response:
        """All checkpoints, by name."""
        rows = self.project.checkpoints.select_related("bucket")
        return Response(answer(Pager(request, ListQuery.of(request)).of(rows, "name"), CheckpointAnswer))

    @extend_schema(operation_id="createCheckpoint", request=CheckpointBody, responses={201: OneCheckpointAnswer})
    def post(self, request: Request) -> Response:
        """Pin the versions that are current now, and have them made safe. The same again answers what there is."""
        body = CheckpointBody.of(request)
        bucket = one(self.project.buckets.all(), name=body["bucket"]) if "bucket" in body else None
        spec = CheckpointSpec(body["name"], bucket, body["prefix"], body["labels"])
        was_there = False

        def make() -> list[Checkpoint]:
            nonlocal was_there
            made, was_there = checkpoints.create(self.project, spec, created_by=self.caller.key)
            return [made]

        answered = self.created(make, self.project.checkpoints.select_related("bucket"), OneCheckpointAnswer)
        if was_there:
            answered["Waybill-Replayed"] = "true"
        return answered


class CheckpointEndpoint(Endpoint):
    """A route of one checkpoint."""

    roles = {"POST": Role.OPERATOR, "DELETE": Role.OPERATOR}

    def checkpoint(self, name: str) -> Checkpoint:
        """Raises NotFound."""
        return one(self.project.checkpoints.select_related("bucket"), name=name)


class OneCheckpoint(CheckpointEndpoint):
    """One checkpoint."""

    @extend_schema(operation_id="getCheckpoint", responses=OneCheckpointAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """What it holds and how far it is."""
        return Response(OneCheckpointAnswer(self.checkpoint(name)).data)

    @extend_schema(operation_id="deleteCheckpoint", responses={202: None, 204: None})
    def delete(self, _request: Request, name: str) -> Response:
        """Let go of its members. 204: all is done. 202: workers do the rest."""
        return Response(status=204 if checkpoints.release(self.checkpoint(name)) else 202)


class Members(CheckpointEndpoint):
    """What one checkpoint holds."""

    @extend_schema(operation_id="listCheckpointMembers", parameters=[ListQuery], responses=page_of(MemberAnswer))
    def get(self, request: Request, name: str) -> Response:
        """The versions that it keeps."""
        rows = self.checkpoint(name).members.select_related("object__bucket")
        rows = rows.prefetch_related("object__replicas__storage")
        return Response(answer(Pager(request, ListQuery.of(request)).of(rows, "id"), MemberAnswer))


class MemberAlias(CheckpointEndpoint):
    """Reading what one checkpoint holds."""

    creates = True

    @extend_schema(operation_id="createMemberAlias", request=MemberAliasBody, responses={201: AliasAnswer})
    def post(self, request: Request, name: str) -> Response:
        """Make an alias that reads the version which the checkpoint holds, whatever is current."""
        body, found = MemberAliasBody.of(request), self.checkpoint(name)
        rows = alias_groups.select(self.project, Selection())
        key = self.caller.key
        return self.created(
            lambda: [checkpoints.read_alias(found, **body, created_by=key)], rows, AliasAnswer, role=self.caller.role
        )


class RestoreCheckpoint(CheckpointEndpoint):
    """The way back to one checkpoint."""

    @extend_schema(operation_id="restoreCheckpoint", request=None, responses={202: OneCheckpointAnswer})
    def post(self, _request: Request, name: str) -> Response:
        """Make each member the current version of its key again; `restored_at` tells when that is done."""
        found = self.checkpoint(name)
        checkpoints.restore(found)
        return Response(OneCheckpointAnswer(found).data, status=202)
