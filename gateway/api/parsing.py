"""Parsing request bodies: JSON within bounds of size and depth, and free of text that no database would keep."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from gateway.refusals import DocumentTooLarge

#: Deeper than anything the API takes; far less than what would exhaust the parser's stack.
MAX_DEPTH = 16


class BoundedJSONParser(BaseParser):
    """JSON in UTF-8 of at most ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], _media_type: str | None = None, _context: Mapping[str, Any] | None = None
    ) -> Any:
        """The document. Raises ParseError and DocumentTooLarge, neither of which quotes from it."""
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            raw = stream.read(most + 1)
        except OSError as exc:
            raise ParseError("The body did not come whole.") from exc
        if len(raw) > most:
            raise DocumentTooLarge(f"A request body may have {most} bytes.")
        try:
            document = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_object)
        except UnicodeDecodeError as exc:
            raise ParseError("The body is not valid UTF-8.") from exc
        except ValueError as exc:
            raise ParseError(f"The body is not valid JSON: {exc}") from exc
        except RecursionError as exc:
            raise _too_deep() from exc
        _check(document, 0)
        return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _check(part: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(part, str):
        if "\0" in part:
            raise ParseError("The body holds a null character.")
        try:
            part.encode()
        except UnicodeEncodeError as exc:
            raise ParseError("The body holds half of a surrogate pair.") from exc
    elif isinstance(part, dict):
        for name, value in part.items():
            _check(name, depth)
            _check(value, depth + 1)
    elif isinstance(part, list):
        for value in part:
            _check(value, depth + 1)


def _too_deep() -> ParseError:
    return ParseError(f"The body is nested more than {MAX_DEPTH} levels deep.")
