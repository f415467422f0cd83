"""Paging: every list goes on where its last page ended, by a signed cursor that fits this list and no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.core import signing
from django.db.models import Model, Q, QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from gateway.api.fields import Query
from gateway.auth import caller
from staging.errors import InvalidRequest

MAX_LIMIT = 1000


class ListQuery(Query):
    """What every list takes."""

    cursor = serializers.CharField(required=False, help_text="`next` of the page before, with the same filters.")
    limit = serializers.IntegerField(required=False, default=100, min_value=1, max_value=MAX_LIMIT)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows; ``next`` is the cursor of the page behind it, None at the end."""

    rows: Sequence[Any]
    next: str | None


class Pager:
    """The page that one request asks for: ``limit`` entries behind ``position``, which is None for the first."""

    def __init__(self, request: Request, query: Query) -> None:
        values = query.validated_data
        self.limit: int = values["limit"]
        filters = sorted(f"{k}={v}" for k, v in values.items() if k not in ("cursor", "limit"))
        names = [str(caller(request).project.pk), request.path, *filters]
        self._signer = signing.Signer(salt="waybill.cursor:" + "\n".join(names))
        self.position: list[Any] | None = self._opened(values["cursor"]) if "cursor" in values else None

    def of(self, rows: QuerySet[Any], *order: str) -> Page:
        """The page of a table in this order, whose columns together are unique and all run the same way."""
        columns = [name.removeprefix("-") for name in order]
        if self.position is not None:
            rows = rows.filter(_behind(columns, self.position, "lt" if order[0].startswith("-") else "gt"))
        found = list(rows.order_by(*order)[: self.limit + 1])
        shown = found[: self.limit]
        return Page(shown, self.cursor([_plain(shown[-1], c) for c in columns]) if len(found) > len(shown) else None)

    def cursor(self, position: list[Any]) -> str:
        """The cursor of what comes behind this position."""
        return self._signer.sign_object(position)

    def _opened(self, cursor: str) -> list[Any]:
        try:
            position: list[Any] = self._signer.unsign_object(cursor)
        except signing.BadSignature as exc:
            problem = "give back `next` as it was, with the same filters"
            raise InvalidRequest("The cursor was not made by this list.", fields={"cursor": problem}) from exc
        return position


@cache
def page_of(answer: type[serializers.BaseSerializer[Any]]) -> serializers.BaseSerializer[Any]:
    """The shape of a page, for the schema."""
    name = answer.__name__.removesuffix("Answer") + "Page"
    return inline_serializer(name, {"items": answer(many=True), "next": serializers.CharField(allow_null=True)})


def answer(page: Page, shape: type[serializers.BaseSerializer[Any]], **context: Any) -> Mapping[str, Any]:
    """A page as it is sent."""
    return {"items": shape(page.rows, many=True, context=context).data, "next": page.next}


def _behind(columns: list[str], position: list[Any], comparison: str) -> Q:
    condition = Q()
    for place, column in enumerate(columns):
        equal = dict(zip(columns[:place], position[:place], strict=True))
        condition |= Q(**equal, **{f"{column}__{comparison}": position[place]})
    return condition


def _plain(row: Model, column: str) -> str | int:
    value = getattr(row, column)
    return value.isoformat() if isinstance(value, datetime) else value if isinstance(value, int) else str(value)
