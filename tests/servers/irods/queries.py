"""Queries of the first kind (GenQuery), for the columns that clients of data objects ask for."""

from __future__ import annotations

import shutil
import time
import xml.etree.ElementTree as ET

from tests.servers.irods.frames import Frame, Refused, element
from tests.servers.irods.store import UNKNOWN_ZONE, Store

NO_ROWS, INVALID_ARGUMENT, UNKNOWN_TABLE = -808_000, -816_000, -853_000
_ROWS_A_PAGE = 256

_COLUMNS = {
    308: "d.free_space",
    314: "d.free_space_time",
    302: "d.name",
    401: "r.data",
    403: "r.name",
    404: "r.number",
    407: "r.size",
    409: "r.resource",
    413: "r.status",
    415: "r.checksum",
    420: "printf('%011d', r.modified)",
    500: "c.id",
    501: "c.name",
    502: "c.parent",
}
#: What the client's own put and get ask for besides, of an object and of a collection, and nobody looks at.
_UNUSED = dict.fromkeys((405, 406, 410, 411, 412, 414, 416, 417, 418, 419, 422, 423, 424, *range(503, 510)), "'0'")
_COLUMNS |= {402: "c.id", **_UNUSED}
_COLLECTION_NAMES = (501, 502)


class Queries:
    """The queries of one connection, whose further pages it keeps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: dict[int, list[tuple[object, ...]]] = {}
        self._next = 1

    def answer(self, frame: Frame) -> str:
        most, page = frame.integer("maxRows"), frame.integer("continueInx")
        columns = [int(e.text or 0) for e in _all(frame, "InxIvalPair_PI/inx")]
        rows = self._left.pop(page, []) if page else self._select(frame, columns)
        if not rows or most == 0:
            raise Refused(NO_ROWS)
        size = min(most, _ROWS_A_PAGE)
        shown, left = rows[:size], rows[size:]
        page = 0
        if left:
            page, self._next = self._next, self._next + 1
            self._left[page] = left
        return _page(columns, shown, page)

    def _select(self, frame: Frame, columns: list[int]) -> list[tuple[object, ...]]:
        conditions = list(
            zip(
                [int(e.text or 0) for e in _all(frame, "InxValPair_PI/inx")],
                [e.text or "" for e in _all(frame, "InxValPair_PI/svalue")],
                strict=True,
            )
        )
        if unknown := {*columns, *(column for column, _ in conditions)} - set(_COLUMNS):
            raise Refused(UNKNOWN_TABLE if unknown else 0)
        where, values = [], []
        for column, condition in conditions:
            operator, value = _taken_apart(condition)
            if column in _COLLECTION_NAMES and value.split("/")[1:2] != [self._store.zone]:
                raise Refused(UNKNOWN_ZONE)
            escape = r" ESCAPE '\'" if operator == "LIKE" else ""
            where.append(f"{_COLUMNS[column]} {operator} ?{escape}")
            values.append(value)
        asked = {column // 100 for column in (*columns, *(column for column, _ in conditions))}
        tables = "collections c" if asked == {5} else "replicas r JOIN collections c ON c.id = r.coll"
        if asked == {3}:
            free = shutil.disk_usage(self._store.vault).free
            tables = f"(SELECT '{self._store.resource}' name, {free} free_space, {int(time.time())} free_space_time) d"
        shown = ", ".join(_COLUMNS[column] for column in columns)
        return self._store.select(f"SELECT DISTINCT {shown} FROM {tables} WHERE {' AND '.join(where)}", values)


def _taken_apart(condition: str) -> tuple[str, str]:
    operator, quote, rest = condition.partition("'")
    value, last, _ = rest.rpartition("'")
    outside = "".join(condition.split("'")[::2])
    if not quote or not last or "&&" in outside or "||" in outside:
        raise Refused(INVALID_ARGUMENT)
    match operator.strip().lower():
        case "=" | "<>" as operator:
            return operator, value
        case "like":
            return "LIKE", value
    raise Refused(INVALID_ARGUMENT)


def _page(columns: list[int], rows: list[tuple[object, ...]], page: int) -> str:
    results = [
        element("SqlResult_PI", attriInx=column, reslen=1024, value=[row[place] for row in rows])
        for place, column in enumerate(columns)
    ]
    head = element("GenQueryOut_PI", rowCnt=len(rows), attriCnt=len(columns), continueInx=page, totalRowCount=0)
    return head.replace("</GenQueryOut_PI>", "".join(results) + "</GenQueryOut_PI>")


def _all(frame: Frame, path: str) -> list[ET.Element]:
    return [] if frame.body is None else frame.body.findall(path)
