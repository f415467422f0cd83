"""The entrance: where everything is, and who is asking."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from gateway.api.endpoint import Endpoint
from staging.errors import NotFound
from staging.states import Role

LISTS = ("storages", "schemes", "nodes", "credentials", "buckets", "aliases", "transfers", "events", "keys", "whoami")


class IndexAnswer(serializers.Serializer[Any]):
    """The addresses of all lists."""

    version = serializers.CharField()
    links = serializers.DictField(child=serializers.CharField())


class CallerAnswer(serializers.Serializer[Any]):
    """Who asks: the API key's id, or the user of a session."""

    project = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    key = serializers.CharField(allow_null=True)
    user = serializers.CharField(allow_null=True)


class Index(Endpoint):
    """The entrance."""

    @extend_schema(operation_id="getIndex", responses=IndexAnswer, tags=["index"])
    def get(self, _request: Request) -> Response:
        """Where everything is."""
        links = {name: reverse(f"api-{name}") for name in (*LISTS, "schema", "docs")}
        return Response({"version": "v1", "links": links})


class WhoAmI(Endpoint):
    """The caller."""

    @extend_schema(operation_id="getCaller", responses=CallerAnswer)
    def get(self, request: Request) -> Response:
        """The project and role that this call has."""
        key = self.caller.key
        return Response(
            {
                "project": self.project.name,
                "role": self.caller.role,
                "key": key.public_id if key else None,
                "user": None if key else request.user.get_username(),
            }
        )


class Unknown(Endpoint):
    """Every other address below the API's."""

    schema = None
    roles = {method.upper(): Role.VIEWER for method in Endpoint.http_method_names}

    def get(self, _request: Request, **_: Any) -> Response:
        """Always NotFound."""
        raise NotFound("There is nothing at this address of the API.")

    post = put = patch = delete = get
