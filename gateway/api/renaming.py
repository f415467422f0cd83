"""Renaming objects and folders of managed buckets."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Text
from staging import renaming
from staging.states import Role


class RenameBody(Body):
    """Two keys, or two folders, each ending in `/`."""

    def get_fields(self) -> Any:
        """One of the names is a word of Python's."""
        return {
            "from": Text(help_text="The key of an object, or a folder."),
            "to": Text(help_text="Its new key, where nothing is yet; for a folder another folder beside it."),
        }


class RenameAnswer(serializers.Serializer[Any]):
    """What was renamed."""

    objects = serializers.IntegerField()
    bytes = serializers.IntegerField()


@extend_schema(tags=["objects"])
class Rename(Endpoint):
    """Other keys for objects."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="renameObjects", request=RenameBody, responses=RenameAnswer)
    def post(self, request: Request, name: str) -> Response:
        """Give an object, or all of a folder, another key in its bucket: all or nothing, and no byte moves.

        At most 20,000 objects a call. Aliases name keys, not objects: those of the old key find nothing there now.
        """
        body = RenameBody.of(request)
        bucket = one(self.project.buckets.all(), name=name)
        return Response(RenameAnswer(renaming.rename(bucket, body["from"], body["to"])).data)
