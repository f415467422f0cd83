"""Columns that SQLite and PostgreSQL would otherwise treat differently."""

import re
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact

from adapters.keys import MAX_KEY_BYTES

#: Names of projects, storages, buckets and credentials.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
NAME_RULE = "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
validate_name = RegexValidator(NAME_PATTERN, NAME_RULE)


class KeyField(models.CharField):  # type: ignore[type-arg]  # Django's own class takes no arguments
    """A key: compared and ordered by its UTF-8 bytes on every database, so that listings and ranges agree."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 1100)
        super().__init__(*args, **kwargs)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        collation = {"postgresql": "C", "sqlite": "BINARY"}.get(connection.vendor)
        return {**super().db_parameters(connection), "collation": collation}


def is_name(text: str) -> bool:
    """Whether a project, storage, bucket or credential may be called this; ``NAME_RULE`` says it in words."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def behind(prefix: str) -> str:
    """What sorts behind every legal key that starts with ``prefix``, as an upper bound for a KeyField.

    LIKE would not do: on SQLite it takes capitals and small letters for the same.
    """
    return prefix + "\U0010ffff" * (MAX_KEY_BYTES // 4 + 1)


def is_sha256(field: str) -> models.Q:
    """The condition that a column looks like a digest. A regular expression would need Django to open the database."""
    return models.Q(Exact(Length(field), 64)) & models.Q(Exact(models.F(field), Lower(field)))


def state_check(field: str, choices: type[models.TextChoices], name: str) -> models.CheckConstraint:
    """A constraint that keeps a state column within its choices in the database itself."""
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": choices.values}), name=name)
