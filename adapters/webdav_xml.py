"""The documents that WebDAV servers answer PROPFIND with, read as they come, of which nothing hostile is believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from adapters.web_client import http_time
from adapters.web_errors import HttpBroken

#: The properties that are asked for, the one of ownCloud's namespace too.
REQUEST = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns"><prop><resourcetype/><getcontentlength/>'
    b"<getlastmodified/><getetag/><oc:checksums/></prop></propfind>"
)
#: The same for the space that is left (RFC 4331).
SPACE_REQUEST = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
)

#: More than this for one member of a folder is no listing but an attack.
MOST_BYTES_OF_A_MEMBER = 256 * 1024
OK = 200
#: Said of what was removed as the folder was listed.
_GONE = (404, 410)
_CHUNK_BYTES = 64 * 1024

_DAV = "DAV: "
_CHECKSUM = "http://owncloud.org/ns checksum"
_HREF = re.compile(r"(?:https?://[^/]*)?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_STATUS = re.compile(r"HTTP/\S+ (?P<code>\d{3})")
_NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)


@dataclass(slots=True)
class Member:
    """One resource; ``path`` is decoded and has no ``/`` at its end, ``size`` is None where it was not told.

    ``refused`` is the status with which the server keeps it to itself, 0 of all others.
    """

    path: str = ""
    is_folder: bool = False
    size: int | None = None
    modified: datetime | None = None
    etag: str = ""
    checksums: str = ""
    free_bytes: int | None = None
    refused: int = 0


def members(read: Callable[[int], bytes]) -> Iterator[Member]:
    """The resources of a multistatus, one by one as ``read(max_bytes)`` brings them (RFC 4918, section 14.16).

    Members that are gone are left out. What is not UTF-8 in an address is there as ``surrogateescape`` has it. Raises
    HttpBroken for what is no well-formed multistatus, declares a document type, or is too long for what it says.
    """
    document = _Multistatus()
    unread = 0
    while data := read(_CHUNK_BYTES):
        document.feed(data)
        unread = 0 if document.found else unread + len(data)
        if unread > MOST_BYTES_OF_A_MEMBER:
            raise HttpBroken("the server tells more of one resource than anybody asked for")
        yield from document.found
        document.found.clear()
    document.finish()


class _Multistatus:
    def __init__(self) -> None:
        self.found: list[Member] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._was_multistatus = False
        self._text: list[str] = []
        self._member = Member()
        self._status = 200  # of the response as a whole
        self._properties: dict[str, str] = {}
        self._is_collection = False
        self._in_propstat = False
        self._propstat_status = 0

    def feed(self, data: bytes) -> None:
        self._parse(data, last=False)

    def finish(self) -> None:
        self._parse(b"", last=True)

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as exc:
            raise HttpBroken(f"the server's answer to PROPFIND is no XML: {expat.ErrorString(exc.code)}") from exc

    def _refuse_doctype(self, *_: object) -> None:
        raise HttpBroken("the server's answer to PROPFIND declares a document type, as only hostile ones do")

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._text.clear()
        if not self._was_multistatus:
            if name != f"{_DAV}multistatus":
                raise HttpBroken("the server's answer to PROPFIND is no multistatus")
            self._was_multistatus = True
        elif name == f"{_DAV}response":
            self._member, self._status = Member(), 200
        elif name == f"{_DAV}propstat":
            self._properties, self._is_collection = {}, False
            self._in_propstat, self._propstat_status = True, 0
        elif name == f"{_DAV}collection":
            self._is_collection = True

    def _characters(self, text: str) -> None:
        self._text.append(text)

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        if name == f"{_DAV}href" and not self._member.path:
            self._member.path = _path(text)
        elif name == f"{_DAV}status":
            match = _STATUS.match(text)
            code = int(match["code"]) if match else 0
            if self._in_propstat:
                self._propstat_status = code
            else:
                self._status = code
        elif name == f"{_DAV}propstat":
            self._in_propstat = False
            if self._propstat_status == 200:
                self._believe()
        elif name == f"{_DAV}response":
            if self._member.path and self._status not in _GONE:
                self._member.refused = self._status if self._status != OK else 0
                self.found.append(self._member)
        elif self._in_propstat:
            self._properties[name] = text

    def _believe(self) -> None:
        """Take over the properties that the server has; those that it lacks stand in a propstat of their own."""
        found, member = self._properties, self._member
        member.is_folder = member.is_folder or self._is_collection
        member.etag = found.get(f"{_DAV}getetag", member.etag)
        member.checksums = found.get(_CHECKSUM, member.checksums)
        member.modified = http_time(found.get(f"{_DAV}getlastmodified", "")) or member.modified
        if _NUMBER.fullmatch(size := found.get(f"{_DAV}getcontentlength", "")) and int(size) >= 0:
            member.size = int(size)
        if _NUMBER.fullmatch(free := found.get(f"{_DAV}quota-available-bytes", "")):
            member.free_bytes = int(free)


def _path(href: str) -> str:
    """The decoded path of an address; empty where it is none."""
    match = _HREF.fullmatch(href)
    if match is None:
        return ""
    return unquote_to_bytes(match["path"]).decode(errors="surrogateescape").rstrip("/") or "/"
