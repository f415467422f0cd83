"""Transfers: what moves, or moved, between storages; read-only."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Choice
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging.models import Transfer
from staging.states import TransferKind, TransferState


class TransferAnswer(serializers.ModelSerializer[Transfer]):
    """One transfer; `label` is the bucket and key of its object."""

    target = serializers.CharField(source="target.name")

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
            "attempts",
            "max_attempts",
            "not_before",
            "error_code",
            "error_detail",
            "created_at",
            "started_at",
            "finished_at",
        ]


class TransferQuery(ListQuery):
    """Which transfers to list."""

    state = Choice(TransferState.choices, required=False)
    kind = Choice(TransferKind.choices, required=False)


class Transfers(Endpoint):
    """The project's transfers."""

    @extend_schema(operation_id="listTransfers", parameters=[TransferQuery], responses=page_of(TransferAnswer))
    def get(self, request: Request) -> Response:
        """Transfers, the newest first."""
        query = TransferQuery.of(request)
        chosen = {name: query.validated_data[name] for name in ("state", "kind") if name in query.validated_data}
        rows = self.project.transfers.select_related("target").filter(**chosen)
        return Response(answer(Pager(request, query).of(rows, "-created_at", "-id"), TransferAnswer))


class OneTransfer(Endpoint):
    """One transfer."""

    @extend_schema(operation_id="getTransfer", responses=TransferAnswer)
    def get(self, _request: Request, transfer_id: UUID) -> Response:
        """How far it is, and what went wrong first."""
        transfer: Any = one(self.project.transfers.select_related("target"), pk=transfer_id)
        return Response(TransferAnswer(transfer).data)
