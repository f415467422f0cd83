"""``/stage.sh``: the script by which a job's wrapper stages data in and out, for whoever asks."""

import hashlib
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import condition, require_safe

_SOURCE = settings.BASE_DIR / "gateway" / "static" / "waybill" / "stage.sh"


@cache
def _script() -> tuple[bytes, str]:
    """The script and its entity tag."""
    content = _SOURCE.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()}"'


@require_safe
@condition(etag_func=lambda _request: _script()[1])
def script(_request: HttpRequest) -> HttpResponse:
    """200 with the script as text, or 304; its ``ETag`` is its SHA-256, and so is ``Waybill-Sha256``."""
    content, etag = _script()
    response = HttpResponse(content, content_type="text/x-shellscript; charset=utf-8")
    response["Waybill-Sha256"] = etag.strip('"')
    response["Cache-Control"] = "public, max-age=300"
    return response
