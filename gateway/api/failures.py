"""Producers that have given up: told for one output alias, or for those of a whole job."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.alias_groups import GroupBody
from gateway.api.aliases import AliasAnswer
from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Text
from staging import alias_groups, failures
from staging.alias_groups import Selection
from staging.failures import MAX_REASON
from staging.states import Role


class FailBody(Body):
    """Why nothing will come; readers are told."""

    reason = Text(required=False, allow_blank=True, max_length=MAX_REASON)


class FailGroupBody(GroupBody):
    """Which write aliases will bring nothing, and why."""

    reason = Text(required=False, allow_blank=True, max_length=MAX_REASON)


class FailedAnswer(serializers.Serializer[Any]):
    """How many aliases were marked."""

    failed = serializers.IntegerField()


class FailAlias(Endpoint):
    """The failure of one producer."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="failAlias", request=FailBody, responses=AliasAnswer)
    def post(self, request: Request, alias_id: UUID) -> Response:
        """Mark the producer behind a write alias as failed: readers that wait for its object get 424 at once.

        An upload through the alias undoes it. Where it was marked before, the first reason stays.
        """
        alias = one(alias_groups.select(self.project, Selection()), pk=alias_id)
        failures.fail(alias, FailBody.of(request).get("reason", ""))
        return Response(AliasAnswer(alias, context={"role": self.caller.role}).data)


class FailAliases(Endpoint):
    """Failures by group."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="failAliases", request=FailGroupBody, responses=FailedAnswer)
    def post(self, request: Request) -> Response:
        """Mark the producers behind all write aliases of a group as failed, for instance of one job by its label."""
        body = FailGroupBody.of(request)
        reason = body.pop("reason", "")
        return Response({"failed": failures.fail_all(self.project, Selection(**body), reason)})
