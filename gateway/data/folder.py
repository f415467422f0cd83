"""Requests to a prefix alias: which object below the prefix is meant, or the listing of a folder."""

from django.http import HttpRequest, HttpResponseBase

from gateway.data import archive, download, listing, upload
from gateway.paths import refuse_other_than_utf8
from staging import aliases
from staging.errors import DataPending, InvalidRequest, SourceMissing
from staging.models import Alias
from staging.unpacking import Kind

_DIGEST = ".sha256"


def read(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    """An object below the prefix, its digest, or the listing of a folder."""
    refuse_other_than_utf8(request)
    kind = archive.kind_of(alias, name)
    if kind == Kind.TAR:
        return archive.read(request, alias)
    rest = _below(name)
    if not rest or rest.endswith("/"):
        return listing.answer(request, alias, rest)
    # rclone asks so for a name that holds a colon (RFC 3986, section 4.2).
    rest = rest.removeprefix("./")
    one = aliases.below(alias, rest)
    try:
        return download.answer(request, one, aliases.file_name(one))
    except (SourceMissing, DataPending):
        if not rest.endswith(_DIGEST):
            raise
        of = aliases.below(alias, rest.removesuffix(_DIGEST))
        return download.answer(request, of, f"{aliases.file_name(of)}{_DIGEST}")


def write(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    """Store an object below the prefix, or unpack an archive there."""
    refuse_other_than_utf8(request)
    if kind := archive.kind_of(alias, name):
        return archive.write(request, alias, kind)
    one = aliases.below(alias, _file(name))
    return upload.answer(request, one, aliases.file_name(one))


def admit(request: HttpRequest, alias: Alias, name: str) -> None:
    """Refuse by the request's head alone what ``write`` would refuse."""
    refuse_other_than_utf8(request)
    if kind := archive.kind_of(alias, name):
        archive.admit(request, alias, kind)
        return
    upload.admit(request, aliases.below(alias, _file(name)), name)


def tell(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    """How much of an object below the prefix is safe."""
    refuse_other_than_utf8(request)
    if archive.kind_of(alias, name):
        return archive.tell(request, alias)
    return upload.tell(request, aliases.below(alias, _file(name)), name)


def _file(name: str) -> str:
    rest = _below(name)
    if not rest or rest.endswith("/"):
        raise InvalidRequest("Below a prefix each file has its own name: curl -T FILE URL/ adds it.")
    return rest


def _below(name: str) -> str:
    """What comes behind the last part of the prefix in the URL."""
    _, slash, rest = name.partition("/")
    if not slash:
        raise SourceMissing("The URL of a prefix alias ends in a slash.")
    return rest
