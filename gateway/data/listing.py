"""Listings of a prefix alias: a folder's entries as JSON by pages, or as HTML for people and mirroring clients."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.html import escape

from adapters.keys import check_key
from gateway.data.response import PiecesResponse
from staging import aliases, listing, placement
from staging.connections import release
from staging.errors import InvalidRequest, SourceMissing
from staging.listing import Entry, Page
from staging.models import Alias

_MOST = listing.MAX_PAGE
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #134e4a }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: .25rem .75rem .25rem 0 }}
td:nth-child(n+2), th:nth-child(n+2) {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }}
tr:nth-child(even) {{ background: #f0fdfa }} a {{ color: #0f766e }}
</style></head><body><h1>{title}</h1>
<table><thead><tr><th>Name</th><th>Bytes</th><th>Modified (UTC)</th></tr></thead><tbody>
"""
_TAIL = "</tbody></table></body></html>\n"


def answer(request: HttpRequest, alias: Alias, folder: str) -> HttpResponseBase:
    """The entries of a folder below the prefix; ``folder`` is empty or ends in a slash.

    JSON by pages where the client asks for it (``?format=json`` or an Accept header), else HTML: one page where a limit
    or a cursor is given, or all of it. Raises SourceMissing for a folder in which nothing lies.
    """
    prefix = _prefix(alias, folder)
    as_json = _wants_json(request)
    limit, cursor = _limit(request), request.GET.get("cursor", "")
    recursive = request.GET.get("recursive", "") in ("1", "true")
    after = f"{prefix}{cursor}" if cursor else ""
    page = listing.whole_page(alias.bucket, prefix, folded=not recursive, after=after, limit=limit or _MOST)
    if folder and not cursor and not page.objects and not page.prefixes:
        raise SourceMissing("There is no such folder below the prefix.")
    if request.method == "HEAD":
        kind = "application/json" if as_json else "text/html; charset=utf-8"
        return HttpResponse(headers={"Cache-Control": "no-store"}, content_type=kind)
    release()
    if as_json:
        return _document(alias, folder, prefix, page)
    title = f"{aliases.file_name(alias)}/{folder}"
    following = "" if limit or cursor else page.after
    rows = _rows(alias, prefix, page, following, folded=not recursive)
    if not following:
        more = _more(request, prefix, page)
        response: HttpResponseBase = HttpResponse(f"{_HEAD.format(title=escape(title))}{''.join(rows)}{more}{_TAIL}")
    else:
        response = PiecesResponse(_whole(title, rows), content_type="text/html; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response


def _whole(title: str, rows: Iterator[str]) -> Iterator[bytes]:
    yield _HEAD.format(title=escape(title)).encode()
    yield from (row.encode() for row in rows)
    yield _TAIL.encode()


def _prefix(alias: Alias, folder: str) -> str:
    """The folder's prefix in the bucket. Raises InvalidKey for one that could name nothing, SourceMissing if hidden."""
    if folder:
        check_key(folder.removesuffix("/"))
        if placement.is_reserved(alias.bucket, f"{alias.key}{folder}"):
            raise SourceMissing(f"'{placement.MANAGED_FOLDER}' belongs to managed buckets.")
    return f"{alias.key}{folder}"


def _wants_json(request: HttpRequest) -> bool:
    asked = request.GET.get("format", "")
    if asked not in ("", "json", "html"):
        raise InvalidRequest("format is json or html.")
    return asked == "json" or (not asked and "application/json" in request.headers.get("Accept", ""))


def _limit(request: HttpRequest) -> int | None:
    text = request.GET.get("limit", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST):
        raise InvalidRequest(f"limit is a whole number from 1 to {_MOST}.")
    return int(text[:9])


def _document(alias: Alias, folder: str, prefix: str, page: Page) -> JsonResponse:
    entries = [
        {
            "path": entry.key.removeprefix(alias.key),
            "size": entry.size,
            "sha256": entry.sha256 or None,
            "modified": entry.modified.isoformat() if entry.modified else None,
            "content_type": entry.content_type or None,
        }
        for entry in page.objects
    ]
    document: dict[str, Any] = {
        "prefix": folder,
        "objects": entries,
        "folders": [name.removeprefix(alias.key) for name in page.prefixes],
        "cursor": page.after.removeprefix(prefix) or None,
    }
    response = JsonResponse(document)
    response["Cache-Control"] = "no-store"
    response["ETag"] = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    return response


def _rows(alias: Alias, prefix: str, page: Page, following: str, *, folded: bool) -> Iterator[str]:
    while True:
        entries: list[tuple[str, Entry | None]] = [(entry.key, entry) for entry in page.objects]
        entries += [(name, None) for name in page.prefixes]
        yield "".join(_row(key.removeprefix(prefix), entry) for key, entry in sorted(entries, key=_by_bytes))
        if not following:
            return
        page = listing.whole_page(alias.bucket, prefix, folded=folded, after=following, limit=_MOST)
        following = page.after
        release()


def _by_bytes(entry: tuple[str, Entry | None]) -> bytes:
    return entry[0].encode()


def _row(name: str, entry: Entry | None) -> str:
    # A colon in the first part of a relative reference would make it a scheme.
    href = "/".join(quote(part, safe="") for part in name.split("/"))
    size, modified = (f"{entry.size}", _moment(entry.modified)) if entry else ("", "")
    return f'<tr><td><a href="{href}">{escape(name)}</a></td><td>{size}</td><td>{modified}</td></tr>\n'


def _moment(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}" if when else ""


def _more(request: HttpRequest, prefix: str, page: Page) -> str:
    if not page.after:
        return ""
    asked = {**request.GET.dict(), "cursor": page.after.removeprefix(prefix)}
    return f'<tr><td><a rel="next" href="?{escape(urlencode(asked))}">more</a></td><td></td><td></td></tr>\n'
