"""Aliases: made one by one or by the thousand, found, extended and revoked."""

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import links
from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Choice, Flag, Text, TextMap, Whole
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import alias_groups, alias_targets, aliases
from staging.alias_groups import Selection
from staging.alias_targets import Target
from staging.alias_terms import AliasSpec
from staging.errors import AliasUnknown, InvalidRequest
from staging.models import Alias
from staging.states import AliasMode, AliasState, OnExists, Role

#: The most aliases that one request makes.
MAX_MADE = 1000


class AliasAnswer(serializers.ModelSerializer[Alias]):
    """An alias. `url` and `curl` are a capability: null for viewers, and where the key that made the URL is gone."""

    url = serializers.SerializerMethodField()
    curl = serializers.SerializerMethodField(help_text="A line to copy into a job.")
    bucket = serializers.CharField(source="bucket.name")
    state = serializers.SerializerMethodField()
    labels = serializers.DictField(child=serializers.CharField())
    networks = serializers.ListField(child=serializers.CharField())
    checkpoint = serializers.CharField(
        source="checkpoint.name", allow_null=True, default=None, help_text="Whose version is read."
    )
    expires_at = serializers.SerializerMethodField(help_text="When it ends if it is not used again.")
    starts_on_use = serializers.SerializerMethodField(help_text="Whether its lifetime begins with its first use.")
    created_by = serializers.CharField(source="created_by.public_id", allow_null=True, help_text="An API key's id.")

    class Meta:
        model = Alias
        fields = [
            "id",
            "url",
            "curl",
            "mode",
            "bucket",
            "key",
            "checkpoint",
            "state",
            "expires_at",
            "starts_on_use",
            "first_used_at",
            "idle_s",
            "created_at",
            "revoked_at",
            "failed_at",
            "failure",
            "last_used_at",
            "max_uses",
            "uses",
            "max_bytes",
            "max_total_bytes",
            "written_bytes",
            "max_rate",
            "max_requests",
            "networks",
            "redirect",
            "size",
            "sha256",
            "content_type",
            "on_exists",
            "allow_empty_stream",
            "labels",
            "created_by",
        ]

    def get_url(self, alias: Alias) -> str | None:
        """For those who may use it."""
        return self._shown(links.alias_url, alias)

    def get_curl(self, alias: Alias) -> str | None:
        """For those who may use it."""
        return self._shown(links.curl_line, alias)

    def get_expires_at(self, alias: Alias) -> datetime:
        """The earlier of its lifetime's end and that of its idle limit."""
        return aliases.ends_at(alias)

    def get_starts_on_use(self, alias: Alias) -> bool:
        """It was made so; extending it fixes its end."""
        return alias.lifetime_s is not None

    @extend_schema(responses=serializers.ChoiceField(AliasState.choices))
    def get_state(self, alias: Alias) -> str:
        """At this moment."""
        return aliases.state_of(alias).value

    def _shown(self, secret: Any, alias: Alias) -> str | None:
        if not self.context["role"].allows(Role.OPERATOR):
            return None
        try:
            return str(secret(alias))
        except AliasUnknown:
            return None


class AliasBody(Body):
    """What an alias is to stand for: a bucket and a key, or the URI of an object on a registered storage."""

    bucket = Text(required=False, max_length=64)
    key = Text(required=False, allow_blank=True, help_text="Of a prefix alias the folder; empty: all of the bucket.")
    uri = Text(required=False, max_length=4096, help_text="For instance sftp://host/path/file.")
    mode = Choice(AliasMode.choices)
    lifetime_s = Whole(required=False, min_value=1, help_text="From creation or first use on; a default applies.")
    max_uses = Whole(required=False, min_value=1, max_value=2**31 - 1, allow_null=True)
    max_bytes = Whole(required=False, allow_null=True)
    on_exists = Choice(OnExists.choices, required=False)
    sha256 = Text(required=False, max_length=64, help_text="Of the only content that a write alias takes.")
    size = Whole(required=False, allow_null=True)
    content_type = Text(required=False, allow_blank=True, max_length=255)
    allow_empty_stream = Flag(required=False)
    labels = TextMap(required=False, max_length=255)
    starts_on_use = Flag(required=False, help_text="The lifetime begins with the first use.")
    idle_s = Whole(required=False, min_value=1, allow_null=True, help_text="It ends too when unused for so long.")
    max_total_bytes = Whole(required=False, allow_null=True, help_text="Of all files below a write-prefix alias.")
    max_rate = Whole(required=False, min_value=1024, allow_null=True, help_text="Bytes a second, for each gateway.")
    max_requests = Whole(
        required=False, min_value=1, max_value=2**31 - 1, allow_null=True, help_text="Streams at a time, each gateway."
    )
    networks = serializers.ListField(
        child=Text(max_length=64), required=False, help_text="Networks of the clients that may use it (CIDR)."
    )
    redirect = Flag(required=False, help_text="A GET that asks for it is sent on to a signed URL of the storage.")

    def validate_mode(self, mode: str) -> AliasMode:
        """The domain's own word."""
        return AliasMode(mode)


class AliasChange(Body):
    """How long the alias is to live from now on."""

    lifetime_s = Whole(min_value=1)


class AliasQuery(ListQuery):
    """Which aliases to list."""

    mode = Choice(AliasMode.choices, required=False)
    bucket = serializers.CharField(required=False)
    key = serializers.CharField(required=False, trim_whitespace=False)
    prefix = serializers.CharField(required=False, trim_whitespace=False, help_text="The beginning of the key.")
    label = serializers.ListField(
        child=serializers.RegexField(r"\A[A-Za-z][A-Za-z0-9._/-]{0,62}:[^\0]*\Z", trim_whitespace=False),
        required=False,
        help_text="name:value; may be given several times.",
    )
    live = serializers.BooleanField(required=False, help_text="Whether it can be used now.")
    created_by = serializers.CharField(required=False, help_text="An API key's id.")

    def selection(self) -> Selection:
        """The group that the query asks for."""
        asked = {name: value for name, value in self.validated_data.items() if name not in ("cursor", "limit", "label")}
        labels = dict(label.split(":", 1) for label in self.validated_data.get("label", []))
        return Selection(**asked, labels=labels)


def _one_or_many(name: str, shape: type[serializers.BaseSerializer[Any]]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(name, [shape, shape(many=True)], resource_type_field_name=None, many=False)


class Aliases(Endpoint):
    """The project's aliases."""

    creates = True
    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="listAliases", parameters=[AliasQuery], responses=page_of(AliasAnswer))
    def get(self, request: Request) -> Response:
        """Aliases, the newest first."""
        query = AliasQuery.of(request)
        rows = alias_groups.select(self.project, query.selection())
        page = Pager(request, query).of(rows, "-created_at", "-id")
        return Response(answer(page, AliasAnswer, role=self.caller.role))

    @extend_schema(
        operation_id="createAliases",
        request=_one_or_many("AliasOrAliases", AliasBody),
        responses={201: _one_or_many("MadeAliasOrAliases", AliasAnswer)},
    )
    def post(self, request: Request) -> Response:
        """Make one alias, or of a JSON list up to 1,000, all or none; the answer to a list is a list."""
        many = isinstance(request.data, list)
        bodies = _checked(request.data) if many else [AliasBody.of(request)]

        def make() -> list[Alias]:
            targets = [
                Target(*(body.pop(name, "") for name in ("bucket", "key", "uri")), is_prefix=body["mode"].is_prefix)
                for body in bodies
            ]
            places = alias_targets.find(self.project, targets)
            wanted = [(bucket, AliasSpec(key=key, **body)) for (bucket, key), body in zip(places, bodies, strict=True)]
            return aliases.create_in(wanted, created_by=self.caller.key)

        rows = alias_groups.select(self.project, Selection())
        return self.created(make, rows, AliasAnswer, many=many, role=self.caller.role)


class OneAlias(Endpoint):
    """One alias."""

    roles = {"PATCH": Role.OPERATOR, "DELETE": Role.OPERATOR}

    @extend_schema(operation_id="getAlias", responses=AliasAnswer)
    def get(self, _request: Request, alias_id: UUID) -> Response:
        """What it stands for and what has become of it."""
        return self._answer(self._alias(alias_id))

    @extend_schema(operation_id="extendAlias", request=AliasChange, responses=AliasAnswer)
    def patch(self, request: Request, alias_id: UUID) -> Response:
        """Let it live longer (or shorter) from now on; the URL stays. An expired alias lives again."""
        alias = self._alias(alias_id)
        aliases.extend(alias, AliasChange.of(request)["lifetime_s"])
        return self._answer(alias)

    @extend_schema(operation_id="revokeAlias", responses={204: None})
    def delete(self, _request: Request, alias_id: UUID) -> Response:
        """End it now and for good; requests that run already finish."""
        aliases.revoke(self._alias(alias_id))
        return Response(status=204)

    def _alias(self, alias_id: UUID) -> Alias:
        return one(alias_groups.select(self.project, Selection()), pk=alias_id)

    def _answer(self, alias: Alias) -> Response:
        return Response(AliasAnswer(alias, context={"role": self.caller.role}).data)


def _checked(documents: list[Any]) -> list[dict[str, Any]]:
    """The bodies of a list. Raises InvalidRequest that tells what is wrong by place and field."""
    if not 1 <= len(documents) <= MAX_MADE:
        raise InvalidRequest(f"A list makes 1 to {MAX_MADE} aliases at once; this one has {len(documents)}.")
    bodies = [AliasBody(data=document) for document in documents]
    wrong = {str(place): body.errors for place, body in enumerate(bodies) if not body.is_valid()}
    if wrong:
        raise InvalidRequest(f"{len(wrong)} of {len(bodies)} aliases are not valid.", fields=wrong)
    return [dict(body.validated_data) for body in bodies]
