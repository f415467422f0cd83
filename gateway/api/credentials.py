"""Credentials: secrets that storages share. They go in and never come out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Name, TextMap
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import credentials, storages
from staging.models import Credential


class CredentialAnswer(serializers.ModelSerializer[Credential]):
    """A credential as it is shown: its name and which fields are set."""

    field_names = serializers.ListField(child=serializers.CharField())
    storages = serializers.SlugRelatedField(many=True, read_only=True, slug_field="name")

    class Meta:
        model = Credential
        fields = ["name", "field_names", "storages", "created_at", "rotated_at", "last_used_at"]


class CredentialBody(Body):
    """Secrets to keep."""

    name = Name()
    secrets = TextMap(allow_empty=False, write_only=True)


class CredentialChange(Body):
    """Secrets to replace; fields that are left out stay, an empty one goes."""

    secrets = TextMap(allow_empty=False, write_only=True)


class Credentials(Endpoint):
    """The project's credentials."""

    creates = True

    @extend_schema(operation_id="listCredentials", parameters=[ListQuery], responses=page_of(CredentialAnswer))
    def get(self, request: Request) -> Response:
        """All credentials, by name, without their secrets."""
        page = Pager(request, ListQuery.of(request)).of(self._rows(), "name")
        return Response(answer(page, CredentialAnswer))

    @extend_schema(operation_id="createCredential", request=CredentialBody, responses={201: CredentialAnswer})
    def post(self, request: Request) -> Response:
        """Keep secrets under a name that storages can refer to."""
        body = CredentialBody.of(request)
        return self.created(
            lambda: [credentials.create(self.project, body["name"], body["secrets"])], self._rows(), CredentialAnswer
        )

    def _rows(self) -> Any:
        return self.project.credentials.prefetch_related("storages")


class OneCredential(Endpoint):
    """One credential."""

    @extend_schema(operation_id="getCredential", responses=CredentialAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """Which fields are set and which storages use them."""
        return Response(CredentialAnswer(self._credential(name)).data)

    @extend_schema(operation_id="rotateCredential", request=CredentialChange, responses=CredentialAnswer)
    def patch(self, request: Request, name: str) -> Response:
        """Replace secrets. Storages use the new ones from their next connection on."""
        change = CredentialChange.of(request)
        credential = self._credential(name)
        storages.rotate(credential, change["secrets"])
        return Response(CredentialAnswer(credential).data)

    @extend_schema(operation_id="deleteCredential", responses={204: None})
    def delete(self, _request: Request, name: str) -> Response:
        """Forget secrets that no storage uses."""
        credentials.delete(self._credential(name))
        return Response(status=204)

    def _credential(self, name: str) -> Credential:
        return one(self.project.credentials.prefetch_related("storages"), name=name)
