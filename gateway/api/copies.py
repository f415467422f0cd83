"""Copies: an object, or a folder, is copied or moved between any two buckets; watched, cancelled, and tried again."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.endpoint import Endpoint, one
from gateway.api.fields import Body, Choice, Flag, Text
from gateway.api.paging import ListQuery, Pager, answer, page_of
from staging import copy_jobs, copy_progress
from staging.copy_specs import CopySpec
from staging.errors import InvalidRequest
from staging.models import Bucket, CopyJob
from staging.states import CopyOnExists, CopyState, Role


class CopyBody(Body):
    """What is copied where to, both as `bucket/key`, or as `bucket/folder/` for all below it (`bucket/`: for all)."""

    def get_fields(self) -> Any:
        """One of the names is a word of Python's."""
        return {
            "from": Text(max_length=1200, help_text="As `bucket/key` or `bucket/folder/`."),
            "to": Text(max_length=1200, help_text="In the same form; ends in `/` where `from` does."),
            "on_exists": Choice(
                CopyOnExists.choices,
                default=CopyOnExists.FAIL,
                help_text="Where an object of other content stands: it fails, is replaced, or both are left.",
            ),
            "move": Flag(default=False, help_text="Whether each source is deleted once its copy stands."),
        }


class CopyAnswer(serializers.ModelSerializer[CopyJob]):
    """One copy job. Objects that failed are listed by `/transfers?copy=<id>&state=failed`; the error is the first.

    What was left as it was counts as skipped. Rate and time left are null where nothing tells them.
    """

    to = serializers.CharField(source="target")
    move = serializers.BooleanField(source="moves")
    objects_failed = serializers.IntegerField()
    bytes_done = serializers.IntegerField(source="bytes_moved")
    bytes_per_s = serializers.IntegerField(allow_null=True)
    seconds_left = serializers.IntegerField(allow_null=True)

    class Meta:
        model = CopyJob
        fields = [
            "id",
            "to",
            "move",
            "on_exists",
            "state",
            "listed",
            "objects_found",
            "objects_done",
            "objects_skipped",
            "objects_failed",
            "bytes_found",
            "bytes_done",
            "bytes_per_s",
            "seconds_left",
            "error_code",
            "error_detail",
            "cancelled_at",
            "created_at",
            "finished_at",
        ]

    def get_fields(self) -> Any:
        """One of the names is a word of Python's."""
        fields = super().get_fields()
        return {"id": fields.pop("id"), "from": serializers.CharField(source="source"), **fields}


class CopyQuery(ListQuery):
    """Which copies to list."""

    state = Choice(CopyState.choices, required=False)


class CopyEndpoint(Endpoint):
    """A route of copies."""

    @property
    def rows(self) -> Any:
        """The project's copies."""
        return self.project.copy_jobs.select_related("source_bucket", "target_bucket")

    def job(self, copy_id: UUID) -> CopyJob:
        """Raises NotFound."""
        found: CopyJob = one(self.rows, pk=copy_id)
        return found


class Copies(CopyEndpoint):
    """The project's copies."""

    roles = {"POST": Role.OPERATOR}
    creates = True

    @extend_schema(operation_id="listCopies", parameters=[CopyQuery], responses=page_of(CopyAnswer))
    def get(self, request: Request) -> Response:
        """Copies, the newest first."""
        query = CopyQuery.of(request)
        chosen = {"state": query.validated_data["state"]} if "state" in query.validated_data else {}
        rows = copy_progress.with_counts(self.rows.filter(**chosen))
        return Response(answer(Pager(request, query).of(rows, "-created_at", "-id"), CopyAnswer))

    @extend_schema(operation_id="createCopy", request=CopyBody, responses={201: CopyAnswer})
    def post(self, request: Request) -> Response:
        """Copy or move an object, or all of a folder, between any two buckets; workers do it.

        Between managed buckets no byte moves, and what is small is done when this is answered. Each object is copied
        whole or not at all.
        """
        body = CopyBody.of(request)
        (source, source_key), (target, target_key) = (self._place(body, name) for name in ("from", "to"))
        how = CopyOnExists(body["on_exists"])
        spec = CopySpec(source, source_key, target, target_key, on_exists=how, moves=body["move"])
        return self.created(lambda: [copy_jobs.create(self.project, spec)], self.rows, CopyAnswer)

    def _place(self, body: Any, name: str) -> tuple[Bucket, str]:
        bucket, slash, key = body[name].partition("/")
        if not slash:
            raise InvalidRequest("It names no object and no folder.", fields={name: "bucket/key or bucket/folder/"})
        return one(self.project.buckets.select_related("storage__credential"), name=bucket), key


class OneCopy(CopyEndpoint):
    """One copy."""

    @extend_schema(operation_id="getCopy", responses=CopyAnswer)
    def get(self, _request: Request, copy_id: UUID) -> Response:
        """How far it is, and what went wrong first."""
        return Response(CopyAnswer(self.job(copy_id)).data)


class CancelCopy(CopyEndpoint):
    """The end of one copy."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="cancelCopy", request=None, responses=CopyAnswer)
    def post(self, _request: Request, copy_id: UUID) -> Response:
        """Stop it: what waits at once, what runs within seconds. Objects that are copied stay; `retry` goes on."""
        job = self.job(copy_id)
        copy_jobs.cancel(job)
        return Response(CopyAnswer(job).data)


class RetryCopy(CopyEndpoint):
    """Another chance for one copy."""

    roles = {"POST": Role.OPERATOR}

    @extend_schema(operation_id="retryCopy", request=None, responses=CopyAnswer)
    def post(self, _request: Request, copy_id: UUID) -> Response:
        """Go on with a copy that failed or was cancelled: with the objects that it lacks, and with no others."""
        job = self.job(copy_id)
        copy_jobs.retry(job)
        return Response(CopyAnswer(job).data)
