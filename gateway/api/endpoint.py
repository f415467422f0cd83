"""What all views of the API share: the caller's project, bounded JSON, and creating things once."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from gateway.api.parsing import BoundedJSONParser
from gateway.api.schema import Description
from gateway.auth import Caller, caller
from gateway.refusals import LengthRequired
from staging import idempotency
from staging.errors import InvalidRequest, NotFound
from staging.models import Project
from staging.states import Role

M = TypeVar("M", bound=Model)


class Endpoint(APIView):
    """One route. ``roles`` names the role a method needs, where it is not VIEWER to read and ADMIN for the rest."""

    parser_classes = [BoundedJSONParser]
    metadata_class = None
    schema = Description()
    roles: dict[str, Role] = {}
    #: Whether POST makes something, and so honours an Idempotency-Key.
    creates = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses a body without a length, which would otherwise look like none at all."""
        super().initial(request, *args, **kwargs)
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequired("A request to the API needs a Content-Length.")

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Answers hold alias URLs and differ by caller: nothing in between may keep them."""
        return {**super().default_response_headers, "Cache-Control": "no-store"}

    @property
    def caller(self) -> Caller:
        """Who asks, and for which project."""
        return caller(self.request)

    @property
    def project(self) -> Project:
        """The project outside which nothing is looked up."""
        return self.caller.project

    def created(
        self, make: Callable[[], Sequence[M]], rows: QuerySet[M], shape: type[BaseSerializer[Any]], **how: Any
    ) -> Response:
        """201 with what ``make`` made, or what the same Idempotency-Key made before, read again from ``rows``.

        ``how`` goes to the serializer; with ``many`` the answer is a list. Raises NotFound where what was made before
        has been removed since.
        """
        made, replayed = self._once(make, rows)
        many = how.pop("many", False)
        data = shape(made if many else made[0], many=many, context=how).data
        return Response(data, status=201, headers={"Waybill-Replayed": "true"} if replayed else {})

    def _once(self, make: Callable[[], Sequence[M]], rows: QuerySet[M]) -> tuple[Sequence[M], bool]:
        request_key = self.request.headers.get("Idempotency-Key")
        if request_key is None:
            return make(), False
        if self.caller.key is None:
            raise InvalidRequest("An Idempotency-Key belongs to an API key; this call came with a session.")
        made: list[M] = []

        def make_and_name() -> list[str]:
            made.extend(make())
            return [str(row.pk) for row in made]

        ids, replayed = idempotency.once(
            self.caller.key,
            request_key,
            route=f"POST {self.request.path}"[:100],
            request=json.dumps(self.request.data, sort_keys=True).encode(),
            make=make_and_name,
        )
        if not replayed:
            return made, False
        found = {str(row.pk): row for row in rows.filter(pk__in=ids)}
        if len(found) < len(ids):
            raise NotFound("What this Idempotency-Key made has been removed since.")
        return [found[made_id] for made_id in ids], True


def one(rows: QuerySet[M], **by: Any) -> M:
    """The row of the project's that fits, or NotFound: what other projects have does not exist for the caller."""
    found = rows.filter(**by).first()
    if found is None:
        raise NotFound
    return found
