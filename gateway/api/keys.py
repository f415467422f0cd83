"""API keys: how programs get into the control plane."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Choice, Text, Whole
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import api_keys
from staging.models import ApiKey
from staging.states import Role

#: Ten years.
MAX_LIFETIME_S = 10 * 366 * 86400


class KeyAnswer(serializers.ModelSerializer[ApiKey]):
    """An API key without its text."""

    id = serializers.CharField(source="public_id")

    class Meta:
        model = ApiKey
        fields = ["id", "label", "role", "created_at", "expires_at", "revoked_at", "last_used_at"]


class IssuedKeyAnswer(KeyAnswer):
    """A new API key."""

    key = serializers.SerializerMethodField(
        help_text="Shown this once: null when the same Idempotency-Key comes again."
    )

    class Meta(KeyAnswer.Meta):
        fields = [*KeyAnswer.Meta.fields, "key"]

    def get_key(self, key: ApiKey) -> str | None:
        """The text, which is kept nowhere."""
        text: str | None = self.context["texts"].get(key.public_id)
        return text


class KeyBody(Body):
    """A key to issue."""

    label = Text(max_length=100)
    role = Choice(Role.choices)
    lifetime_s = Whole(required=False, min_value=1, max_value=MAX_LIFETIME_S, help_text="Without it, it never expires.")


class Keys(Endpoint):
    """The project's API keys."""

    creates = True

    @extend_schema(operation_id="listKeys", parameters=[ListQuery], responses=page_of(KeyAnswer))
    def get(self, request: Request) -> Response:
        """API keys, the newest first."""
        page = Pager(request, ListQuery.of(request)).of(self.project.api_keys.all(), "-id")
        return Response(answer(page, KeyAnswer))

    @extend_schema(operation_id="createKey", request=KeyBody, responses={201: IssuedKeyAnswer})
    def post(self, request: Request) -> Response:
        """Issue a key of this project."""
        body = KeyBody.of(request)
        texts: dict[str, str] = {}

        def make() -> list[ApiKey]:
            lifetime_s = body.get("lifetime_s")
            expires_at = timezone.now() + timedelta(seconds=lifetime_s) if lifetime_s else None
            key, text = api_keys.issue_key(self.project, Role(body["role"]), label=body["label"], expires_at=expires_at)
            texts[key.public_id] = text
            return [key]

        return self.created(make, self.project.api_keys.all(), IssuedKeyAnswer, texts=texts)


class OneKey(Endpoint):
    """One API key."""

    @extend_schema(operation_id="getKey", responses=KeyAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """When it was made and last used."""
        return Response(KeyAnswer(self._key(name)).data)

    @extend_schema(operation_id="revokeKey", responses={204: None})
    def delete(self, _request: Request, name: str) -> Response:
        """End it now and for good."""
        api_keys.revoke_key(self._key(name))
        return Response(status=204)

    def _key(self, name: str) -> Any:
        return one(self.project.api_keys.all(), public_id=name)
