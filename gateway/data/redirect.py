"""Redirects of a GET to the storage itself, for those who have asked for them twice: with the alias and the request."""

import re

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from staging import alias_uses
from staging.models import Alias

_IN_QUERY = re.compile(r"(?:^|&)redirect=1(?:&|$)")
#: A preference in the manner of RFC 7240.
_PREFERENCE = re.compile(r"\s*redirect\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)


def is_wanted(request: HttpRequest, alias: Alias) -> bool:
    """Whether alias and request both ask for a redirect: curl without ``-L`` would take its page for the file.

    Never for HEAD, whose clients read the answer's own header fields.
    """
    if not alias.redirect or request.method != "GET":
        return False
    return bool(_IN_QUERY.search(request.META.get("QUERY_STRING", ""))) or _prefers(request)


def answer(request: HttpRequest, alias: Alias, url: str, sha256: str) -> HttpResponse:
    """307 to the signed URL, with the digest of what is to come from there where it is known."""
    if alias.idle_s is not None:
        alias_uses.note(alias)
    response = HttpResponseRedirect(url, preserve_request=True)
    response["Cache-Control"] = "no-store"
    if sha256:
        response["Waybill-Sha256"] = sha256
    if _prefers(request):
        response["Preference-Applied"] = "redirect"
    return response


def _prefers(request: HttpRequest) -> bool:
    return any(_PREFERENCE.fullmatch(one) for one in request.META.get("HTTP_PREFER", "").split(","))
