"""What is done to all aliases of a group at once: those of a job, of a workflow's run, below a prefix."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint
from gateway.api.fields import Body, Choice, Text, TextMap, Whole
from staging import alias_groups
from staging.alias_groups import Selection
from staging.states import AliasMode, Role


class GroupBody(Body):
    """What the aliases have in common; at least one field."""

    mode = Choice(AliasMode.choices, required=False)
    bucket = Text(required=False, max_length=64)
    key = Text(required=False)
    prefix = Text(required=False)
    labels = TextMap(required=False, max_length=255, allow_empty=False)
    created_by = Text(required=False, max_length=16)


class ExtendBody(GroupBody):
    """Which aliases are to live how long from now on."""

    lifetime_s = Whole(min_value=1)


class RevokedAnswer(serializers.Serializer[Any]):
    """How many aliases were revoked."""

    revoked = serializers.IntegerField()


class ExtendedAnswer(serializers.Serializer[Any]):
    """How many aliases were extended."""

    extended = serializers.IntegerField()


class RevokeAliases(Endpoint):
    """Revoking by group."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="revokeAliases", request=GroupBody, responses=RevokedAnswer)
    def post(self, request: Request) -> Response:
        """Revoke all aliases of a group, for instance of one job by its label."""
        return Response({"revoked": alias_groups.revoke_all(self.project, Selection(**GroupBody.of(request)))})


class ExtendAliases(Endpoint):
    """Extending by group."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="extendAliases", request=ExtendBody, responses=ExtendedAnswer)
    def post(self, request: Request) -> Response:
        """Extend all aliases of a group that are not revoked."""
        body = ExtendBody.of(request)
        lifetime_s = body.pop("lifetime_s")
        return Response({"extended": alias_groups.extend_all(self.project, Selection(**body), lifetime_s)})
