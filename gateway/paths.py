"""Paths of requests that are not UTF-8: Django reads each wrong byte as ``%FF``, which is a name of its own."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest

from staging.errors import InvalidRequest


class Request(WSGIRequest):
    """A request that still knows whether its path was UTF-8 before Django made it so."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.path_is_utf8 = _is_utf8(environ.get("PATH_INFO", ""))
        super().__init__(environ)


class Handler(WSGIHandler):
    """Django's, with these requests."""

    request_class = Request


def refuse_other_than_utf8(request: HttpRequest) -> None:
    """Raises InvalidRequest."""
    if isinstance(request, Request) and not request.path_is_utf8:
        raise InvalidRequest("The path is not UTF-8, as every name here has to be.")


def _is_utf8(path: str) -> bool:
    """Of a path as WSGI has it: each byte is a character."""
    try:
        path.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True
