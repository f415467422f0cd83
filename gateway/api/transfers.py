"""Transfers: what moves, or moved, between storages; watched, cancelled, and tried again."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Choice
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import transfers
from staging.models import Transfer
from staging.states import Role, TransferKind, TransferState


class TransferAnswer(serializers.ModelSerializer[Transfer]):
    """One transfer; `label` is the bucket and key of its object, `reason` why it is made. `error_…` is the first error,
    `last_error_…` the last; `attempts` tells how many there were.

    Rate and time left are of the attempt that runs, null otherwise. A lower `priority` goes first.
    """

    target = serializers.CharField(source="target.name")
    bytes_per_s = serializers.IntegerField(allow_null=True)
    seconds_left = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Transfer
        fields = [
            "id",
            "kind",
            "state",
            "label",
            "target",
            "size",
            "bytes_done",
            "bytes_per_s",
            "seconds_left",
            "priority",
            "reason",
            "attempts",
            "max_attempts",
            "not_before",
            "error_code",
            "error_detail",
            "last_error_code",
            "last_error_detail",
            "cancelled_at",
            "created_at",
            "started_at",
            "finished_at",
        ]


class TransferQuery(ListQuery):
    """Which transfers to list."""

    state = Choice(TransferState.choices, required=False)
    kind = Choice(TransferKind.choices, required=False)
    copy = serializers.UUIDField(required=False, help_text="Those of one copy.")


class Transfers(Endpoint):
    """The project's transfers."""

    @extend_schema(operation_id="listTransfers", parameters=[TransferQuery], responses=page_of(TransferAnswer))
    def get(self, request: Request) -> Response:
        """Transfers, the newest first."""
        query = TransferQuery.of(request)
        filters = {"state": "state", "kind": "kind", "copy": "job"}
        values = query.validated_data
        chosen = {column: values[name] for name, column in filters.items() if name in values}
        rows = self.project.transfers.select_related("target").filter(**chosen)
        return Response(answer(Pager(request, query).of(rows, "-created_at", "-id"), TransferAnswer))


class TransferEndpoint(Endpoint):
    """A route of one transfer."""

    def transfer(self, transfer_id: UUID) -> Transfer:
        """Raises NotFound."""
        return one(self.project.transfers.select_related("target"), pk=transfer_id)


class OneTransfer(TransferEndpoint):
    """One transfer."""

    @extend_schema(operation_id="getTransfer", responses=TransferAnswer)
    def get(self, _request: Request, transfer_id: UUID) -> Response:
        """How far it is, and what went wrong first and last."""
        return Response(TransferAnswer(self.transfer(transfer_id)).data)


class CancelTransfer(TransferEndpoint):
    """The end of one transfer."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="cancelTransfer", request=None, responses=TransferAnswer)
    def post(self, _request: Request, transfer_id: UUID) -> Response:
        """Stop it: at once where it waits, within seconds where it runs. Nothing of a copy stays; one that ended stays.

        What a policy asks for is queued again by the reconciler, so change the policy first.
        """
        transfer = self.transfer(transfer_id)
        transfers.cancel(transfer)
        return Response(TransferAnswer(transfer).data)


class RetryTransfer(TransferEndpoint):
    """Another chance for one transfer."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="retryTransfer", request=None, responses=TransferAnswer)
    def post(self, _request: Request, transfer_id: UUID) -> Response:
        """Queue a transfer anew that failed for good; `?state=failed` lists those."""
        transfer = self.transfer(transfer_id)
        transfers.retry(transfer)
        return Response(TransferAnswer(transfer).data)
