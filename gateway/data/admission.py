"""What a proxy asks before it takes an upload's body: would the request be refused by its head alone?

nginx's auth_request understands 2xx (go on) and 403 (refused), and keeps no body of the answer. So a refusal is a 403
whose headers hold all of the answer that the client is to get; see deploy/nginx.conf.
"""

import json
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, HttpResponse

from gateway.data import clients, views
from gateway.middleware import REFUSED_STATUS
from gateway.paths import Request


def is_from_proxy(request: HttpRequest) -> bool:
    """Whether one of WAYBILL_PROXY_ADDRESSES asks; nobody else learns that there is such a path."""
    return clients.is_proxy(request.META.get("REMOTE_ADDR", ""))


def answer(request: HttpRequest) -> HttpResponse:
    """204: let the body come; the data path looks at everything again. 403: refused, with the answer in its headers.

    ``Waybill-Refused-Status`` is the status, ``Waybill-Problem`` the problem document; the other headers are the
    answer's own.
    """
    original = _original(request)
    match = views.ALIAS_PATH.fullmatch(original.path_info)
    problem = views.refusal(original, match["token"], match["name"] or "") if match else None
    if problem is None:
        return HttpResponse(status=204)
    told = {REFUSED_STATUS: str(problem.status), "Waybill-Problem": json.dumps(problem.body())}
    return HttpResponse(status=403, headers={**problem.all_headers(), **told, "Content-Length": "0"})


def _original(request: HttpRequest) -> Request:
    """The head of the request that the proxy asks about; the proxy passes on all headers that do not frame the body."""
    given = request.META
    path = given.get("HTTP_X_ORIGINAL_URI", "").partition("?")[0]
    return Request(
        {
            **given,
            "REQUEST_METHOD": given.get("HTTP_X_ORIGINAL_METHOD", ""),
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "CONTENT_LENGTH": given.get("HTTP_X_ORIGINAL_CONTENT_LENGTH", ""),
            "HTTP_TRANSFER_ENCODING": given.get("HTTP_X_ORIGINAL_TRANSFER_ENCODING", ""),
        }
    )
