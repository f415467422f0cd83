"""Queries whose SQL is made once: Django takes ten times longer to make it than the database takes to answer."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

Row = TypeVar("Row", bound=Model)

#: Values that stand for the parameters while the SQL is made, and that nobody would write into a query.
_STAND_INS: dict[type[int] | type[str], Callable[[int], int | str]] = {
    int: lambda position: 2**31 - 1 - position,
    str: lambda position: f"<parameter {position}>",
}


class Prepared(threading.local, Generic[Row]):
    """What ``build(*parameters)`` returns, ready to be run with other parameters of the types ``kinds``.

    ``all`` returns the very instances that the queryset would, those of its ``select_related`` included; a queryset
    with ``prefetch_related``, annotations or deferred fields cannot be prepared. Each thread has its own, as it has
    its own connection.
    """

    def __init__(self, build: Callable[..., QuerySet[Row]], *kinds: type[int] | type[str]) -> None:
        self._build, self._kinds = build, kinds
        self._made: _Made | None = None

    def all(self, *values: int | str) -> list[Row]:
        """Run it; ``values`` are the parameters."""
        made = self._made = self._made or self._make()
        with connection.cursor() as cursor:
            cursor.execute(made.sql, [values[at] if at is not None else given for at, given in made.parameters])
            rows = cursor.fetchall()
        return [made.instance(row) for row in made.compiler.apply_converters(rows, made.converters)]

    def first(self, *values: int | str) -> Row | None:
        """The first row, or None."""
        return next(iter(self.all(*values)), None)

    def _make(self) -> "_Made":
        stand_ins = [_STAND_INS[kind](position) for position, kind in enumerate(self._kinds)]
        compiler: Any = self._build(*stand_ins).query.get_compiler(DEFAULT_DB_ALIAS)
        sql, given = compiler.as_sql()
        columns = compiler.klass_info["select_fields"]
        return _Made(
            sql=sql,
            parameters=[(stand_ins.index(value) if value in stand_ins else None, value) for value in given],
            compiler=compiler,
            converters=compiler.get_converters([column for column, _, _ in compiler.select]),
            model=compiler.klass_info["model"],
            names=[compiler.select[at][0].target.attname for at in columns],
            columns=slice(columns[0], columns[-1] + 1),
            # The stubs are those of a newer Django.
            related=get_related_populators(compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS),  # type: ignore[call-arg]
        )


@dataclass(frozen=True, slots=True)
class _Made:
    """What Django's ``ModelIterable`` works out anew for each queryset. A parameter is a position or a constant."""

    sql: str
    parameters: list[tuple[int | None, Any]]
    compiler: Any
    converters: Any
    model: type[Model]
    names: list[str]
    columns: slice
    related: list[Any]

    def instance(self, row: Any) -> Any:
        made = self.model.from_db(DEFAULT_DB_ALIAS, self.names, row[self.columns])
        for populator in self.related:
            populator.populate(row, made)
        return made
