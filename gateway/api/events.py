"""Events: what happened in the project, in order."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint
from gateway.api.fields import MAX_WHOLE
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging.models import Event


class EventAnswer(serializers.ModelSerializer[Event]):
    """One thing that happened."""

    facts = serializers.DictField()

    class Meta:
        model = Event
        fields = ["id", "kind", "subject", "facts", "created_at"]


class EventQuery(ListQuery):
    """Which events to list."""

    after = serializers.IntegerField(
        required=False, min_value=0, max_value=MAX_WHOLE, help_text="The id of the last event that is known already."
    )
    kind = serializers.CharField(required=False, help_text="For instance object.created.")


class Events(Endpoint):
    """The project's events."""

    @extend_schema(operation_id="listEvents", parameters=[EventQuery], responses=page_of(EventAnswer))
    def get(self, request: Request) -> Response:
        """Events by id, the oldest first. At the end of the feed go on later with `after`."""
        query = EventQuery.of(request)
        wanted = query.validated_data
        rows = self.project.events.filter(pk__gt=wanted.get("after", 0))
        if "kind" in wanted:
            rows = rows.filter(kind=wanted["kind"])
        return Response(answer(Pager(request, query).of(rows, "id"), EventAnswer))
