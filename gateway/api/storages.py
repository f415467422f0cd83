"""Storages: registered, changed, tested, browsed and forgotten."""

from dataclasses import asdict
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from adapters import registry
from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Choice, Name, Settings, Text, TextMap, Whole
from gateway.api.objects import ObjectsPage, ObjectsQuery, list_objects
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import health, nodes, storages
from staging.errors import NotFound
from staging.models import Storage
from staging.states import StorageState

#: Those that a caller may set; the others come about.
STATES = [StorageState.ACTIVE.value, StorageState.CORDONED.value]
_NODE = "The node whose disk or memory it is; null: every gateway and worker reaches it by itself."
_SECRETS = "The secret fields of the kind of storage. Kept encrypted and never shown again."


class StepAnswer(serializers.Serializer[Any]):
    """One step of a test."""

    step = serializers.CharField()
    ok = serializers.BooleanField()
    detail = serializers.CharField()


class HealthAnswer(serializers.Serializer[Any]):
    """Whether a storage failed so often in a row that calls to it are refused for a while, and why.

    `next_try_at` is when the process that answers here lets a call through again; null where it was others that found
    the storage failing.
    """

    failing_since = serializers.DateTimeField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField()
    next_try_at = serializers.DateTimeField(allow_null=True)


class StorageAnswer(serializers.ModelSerializer[Storage]):
    """A storage as it is shown: of its credential no more than the name and which fields are set."""

    options = serializers.DictField()
    credential_name = serializers.CharField(source="credential.name", allow_null=True)
    credential_fields = serializers.ListField(
        child=serializers.CharField(), source="credential.field_names", allow_null=True
    )
    root_bucket = serializers.SerializerMethodField(help_text="The bucket that shows the whole of it, in place.")
    node = serializers.CharField(source="node.name", allow_null=True, default=None)
    test_steps = StepAnswer(many=True)
    health = serializers.SerializerMethodField()

    class Meta:
        model = Storage
        fields = [
            "name",
            "scheme",
            "options",
            "credential_name",
            "credential_fields",
            "root_bucket",
            "tier",
            "state",
            "site",
            "node",
            "max_transfers",
            "capacity_bytes",
            "used_bytes",
            "reserved_bytes",
            "created_at",
            "tested_at",
            "test_steps",
            "health",
        ]

    def get_root_bucket(self, storage: Storage) -> str:
        """Made with the storage."""
        return storages.root_bucket_name(storage.name)

    @extend_schema_field(HealthAnswer)
    def get_health(self, storage: Storage) -> Any:
        """As this process or another has found it."""
        return HealthAnswer(health.of(storage)).data


class Site(Text):
    """Where a storage stands."""

    def __init__(self, **kwargs: Any) -> None:
        told = "Policies that spread copies want them on different sites. Empty: a site of its own."
        super().__init__(max_length=63, allow_blank=True, help_text=told, **kwargs)


class Most(Whole):
    """How many transfers a storage bears."""

    def __init__(self, **kwargs: Any) -> None:
        told = "How many transfers may run there at once; as many removals besides."
        super().__init__(min_value=1, max_value=1000, help_text=told, **kwargs)


class StorageBody(Body):
    """A storage to register."""

    name = Name()
    scheme = Text(max_length=16, help_text="One of GET /api/v1/schemes.")
    options = Settings(required=False, default=dict)
    credential = TextMap(required=False, write_only=True, help_text=_SECRETS)
    credential_name = Name(required=False, help_text="A credential that exists, instead of `credential`.")
    tier = Whole(required=False, default=2, max_value=2)
    capacity_bytes = Whole(required=False, default=None, allow_null=True)
    site = Site(required=False, default="")
    node = Name(required=False, default=None, allow_null=True, help_text=_NODE)
    max_transfers = Most(required=False, default=4)


class StorageChange(Body):
    """What is left out stays as it is."""

    options = Settings(required=False, help_text="Replaces all options.")
    credential = TextMap(
        required=False, write_only=True, help_text=f"{_SECRETS} Fields that are left out stay; an empty one goes."
    )
    tier = Whole(required=False, max_value=2)
    capacity_bytes = Whole(required=False, allow_null=True)
    site = Site(required=False)
    node = Name(required=False, allow_null=True, help_text=_NODE)
    max_transfers = Most(required=False)
    state = Choice(STATES, required=False)


class TestAnswer(serializers.Serializer[Any]):
    """The outcome of a test: its steps in order, the first failure last."""

    ok = serializers.BooleanField()
    steps = StepAnswer(many=True)


class FieldAnswer(serializers.Serializer[Any]):
    """One setting of a kind of storage; ``secret`` ones belong to the credential, the others to the options."""

    name = serializers.CharField()
    type = serializers.ChoiceField(["string", "text", "integer", "boolean"])
    help = serializers.CharField()
    required = serializers.BooleanField()
    default = serializers.JSONField(allow_null=True)
    secret = serializers.BooleanField()
    choices = serializers.ListField(child=serializers.CharField(), help_text="The only values; empty for any.")


class SchemeAnswer(serializers.Serializer[Any]):
    """One kind of storage; ``capabilities`` are what all of it can do beyond reading and writing whole objects."""

    scheme = serializers.CharField()
    title = serializers.CharField()
    read_only = serializers.BooleanField()
    capabilities = serializers.ListField(child=serializers.CharField())
    fields = FieldAnswer(many=True)


class Schemes(Endpoint):
    """The kinds of storage."""

    @extend_schema(operation_id="listSchemes", responses=SchemeAnswer(many=True))
    def get(self, _request: Request) -> Response:
        """Every kind of storage and the settings it takes."""
        return Response([asdict(registry.describe(scheme)) for scheme in storages.schemes()])


class OneScheme(Endpoint):
    """One kind of storage."""

    @extend_schema(operation_id="getScheme", responses=SchemeAnswer)
    def get(self, _request: Request, scheme: str) -> Response:
        """The settings it takes, and what it can do."""
        if scheme not in storages.schemes():
            raise NotFound
        return Response(asdict(registry.describe(scheme)))


class Storages(Endpoint):
    """The project's storages."""

    creates = True

    @extend_schema(operation_id="listStorages", parameters=[ListQuery], responses=page_of(StorageAnswer))
    def get(self, request: Request) -> Response:
        """All storages, by name."""
        page = Pager(request, ListQuery.of(request)).of(self._rows(), "name")
        return Response(answer(page, StorageAnswer))

    @extend_schema(operation_id="createStorage", request=StorageBody, responses={201: StorageAnswer})
    def post(self, request: Request) -> Response:
        """Register a storage. Nothing is tried: that is what its test is for."""
        body = StorageBody.of(request)
        named = body.get("credential_name")
        spec = storages.StorageSpec(
            name=body["name"],
            scheme=body["scheme"],
            options=body["options"],
            secrets=body.get("credential"),
            credential=one(self.project.credentials.all(), name=named) if named else None,
            tier=body["tier"],
            capacity_bytes=body["capacity_bytes"],
            site=body["site"],
            node=nodes.named(body["node"]) if body["node"] else None,
            max_transfers=body["max_transfers"],
        )
        return self.created(lambda: [storages.create(self.project, spec)], self._rows(), StorageAnswer)

    def _rows(self) -> Any:
        return self.project.storages.select_related("credential", "node")


class StorageEndpoint(Endpoint):
    """A route of one storage."""

    def storage(self, name: str) -> Storage:
        """Raises NotFound."""
        return one(self.project.storages.select_related("credential", "project", "node"), name=name)


class OneStorage(StorageEndpoint):
    """One storage."""

    @extend_schema(operation_id="getStorage", responses=StorageAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """Its settings, without secrets."""
        return Response(StorageAnswer(self.storage(name)).data)

    @extend_schema(operation_id="changeStorage", request=StorageChange, responses=StorageAnswer)
    def patch(self, request: Request, name: str) -> Response:
        """Change settings, rotate the credential, resize, cordon or uncordon: all of what is given, or nothing."""
        change = StorageChange.of(request)
        with transaction.atomic():
            storage = self.storage(name)
            if "options" in change or "credential" in change:
                storages.update(storage, options=change.get("options"), secrets=change.get("credential"))
            if "tier" in change or "capacity_bytes" in change:
                capacity = change.get("capacity_bytes", storage.capacity_bytes)
                storages.resize(storage, tier=change.get("tier", storage.tier), capacity_bytes=capacity)
            if "site" in change or "max_transfers" in change:
                storages.place(
                    storage,
                    site=change.get("site", storage.site),
                    max_transfers=change.get("max_transfers", storage.max_transfers),
                )
            if "node" in change:
                storages.give(storage, nodes.named(change["node"]) if change["node"] else None)
            if "state" in change:
                storages.set_state(storage, StorageState(change["state"]))
        return Response(StorageAnswer(storage).data)

    @extend_schema(operation_id="deleteStorage", responses={204: None})
    def delete(self, _request: Request, name: str) -> Response:
        """Forget a storage that holds nothing of the catalog. No byte there is touched."""
        storages.delete(self.storage(name))
        return Response(status=204)


class StorageTest(StorageEndpoint):
    """A test of one storage."""

    @extend_schema(operation_id="testStorage", request=None, responses=TestAnswer)
    def post(self, _request: Request, name: str) -> Response:
        """Try, step by step, all that Waybill needs of the storage. 200 whatever the outcome: `ok` tells."""
        steps = storages.test(self.storage(name))
        return Response({"ok": all(step.ok for step in steps), "steps": [asdict(step) for step in steps]})


class StorageObjects(Endpoint):
    """What lies on one storage."""

    @extend_schema(operation_id="browseStorage", parameters=[ObjectsQuery], responses=ObjectsPage)
    def get(self, _request: Request, name: str) -> Response:
        """The same as listing its root bucket."""
        return list_objects(self, storages.root_bucket_name(name))
