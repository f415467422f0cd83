"""Nodes: gateways with storages of their own, how they are, and emptying one before it goes."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.drains import Deadline, Measured, measured
from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Name
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import drains, node_drains
from staging.models import Node
from staging.states import StorageState

#: A node's own states, and those of its drain.
STATES = ["active", "suspect", "lost", "draining", "drained"]


class NodeAnswer(serializers.ModelSerializer[Node]):
    """A node. It is `suspect` after some silence and `lost` after more; `seen_at` is its last heartbeat."""

    state = serializers.ChoiceField(STATES, source="standing")
    storages = serializers.SerializerMethodField(help_text="Those of the project.")

    class Meta:
        model = Node
        fields = ["name", "state", "storages", "started_at", "seen_at", "leaving_at", "draining_since"]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_storages(self, node: Node) -> list[str]:
        """Of other projects' nothing is told."""
        return list(node.storages.filter(project=self.context["project"]).values_list("name", flat=True))


class NodeDrainBody(Body):
    """Where what lies on the node is moved, and by when."""

    to = Name(
        required=False,
        default=None,
        allow_null=True,
        help_text="A storage of the project; null: one that is not on the node, of the highest tier, with most room.",
    )
    deadline_s = Deadline(required=False, default=None, allow_null=True)


class StorageLeft(Measured):
    """How far the drain of one storage is; `/storages/<name>/drain/left` lists what is left."""

    storage = serializers.CharField()
    state = serializers.ChoiceField(StorageState.choices)
    to = serializers.CharField(allow_null=True)
    replicas = serializers.IntegerField()
    bytes = serializers.IntegerField()
    uploads = serializers.IntegerField()
    deadline = serializers.DateTimeField(allow_null=True)
    is_late = serializers.BooleanField()


class NodeDrainAnswer(serializers.Serializer[Any]):
    """How far it is."""

    state = serializers.ChoiceField(STATES)
    storages = StorageLeft(many=True)


class Nodes(Endpoint):
    """The nodes of the installation."""

    @extend_schema(operation_id="listNodes", parameters=[ListQuery], responses=page_of(NodeAnswer))
    def get(self, request: Request) -> Response:
        """All nodes, by name; each has registered by itself."""
        page = Pager(request, ListQuery.of(request)).of(Node.objects.all(), "name")
        return Response(answer(page, NodeAnswer, project=self.project))


class OneNode(Endpoint):
    """One node."""

    @extend_schema(operation_id="getNode", responses=NodeAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """How it is."""
        return Response(NodeAnswer(one(Node.objects.all(), name=name), context={"project": self.project}).data)


class NodeDrain(Endpoint):
    """The drain of one node."""

    @extend_schema(tags=["nodes"], operation_id="getNodeDrain", responses=NodeDrainAnswer)
    def get(self, _request: Request, name: str) -> Response:
        """What is left on the project's storages there."""
        return self._told(name)

    @extend_schema(
        tags=["nodes"], operation_id="startNodeDrain", request=NodeDrainBody, responses={202: NodeDrainAnswer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Take no new bytes on the node and move what lies there elsewhere, what lies nowhere else first.

        Reads go on. The node is `drained` once nothing is left. It must have storages, all of them the project's.
        """
        body, node = NodeDrainBody.of(request), one(Node.objects.all(), name=name)
        to = one(self.project.storages.all(), name=body["to"]) if body["to"] else None
        node_drains.start(node, self.project, to=to, deadline_s=body["deadline_s"])
        response = self._told(name)
        response.status_code = 202
        return response

    @extend_schema(tags=["nodes"], operation_id="cancelNodeDrain", responses=NodeDrainAnswer)
    def delete(self, _request: Request, name: str) -> Response:
        """Stop, and take new bytes again. What was moved stays where it is."""
        node_drains.cancel(one(Node.objects.all(), name=name), self.project)
        return self._told(name)

    def _told(self, name: str) -> Response:
        node = one(Node.objects.all(), name=name)
        found = []
        for storage in node.storages.filter(project=self.project).select_related("drain_to"):
            left = drains.progress(storage)
            to = storage.drain_to.name if storage.drain_to else None
            counts = {"replicas": left.replicas, "bytes": left.bytes, "uploads": left.uploads}
            late = {"deadline": left.deadline, "is_late": left.is_late}
            told = {"storage": storage.name, "state": storage.state, "to": to, **counts, **late}
            found.append(told | measured(left.measure))
        return Response(NodeDrainAnswer({"state": node.standing, "storages": found}).data)
