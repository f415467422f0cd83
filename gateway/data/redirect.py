"""Redirects of a GET to the storage itself, for those who have asked for them twice: with the alias and the request."""

import re

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from staging import alias_uses
from staging.models import Alias

_SENT_ON = "peer=1"
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


def to_peer(request: HttpRequest, owner: str | None) -> str | None:
    """The same request at ``owner``, the internal URL of the node that has the bytes; None where we are to answer.

    By setting, and only for who asks for redirects: curl without ``-L`` would take the page of one for the file. Who
    was sent on once is answered by whom it reaches.
    """
    query = request.META.get("QUERY_STRING", "")
    if owner is None or settings.NODE_PEERS != "redirect" or request.method != "GET" or _SENT_ON in query.split("&"):
        return None
    if not (_IN_QUERY.search(query) or _prefers(request)):
        return None
    return f"{owner}{request.get_full_path()}{'&' if query else '?'}{_SENT_ON}"


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
