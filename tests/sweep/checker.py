"""What must hold after a fault, read independently of what the wrapper was told: catalog, bytes, answers, space."""

from __future__ import annotations

from itertools import groupby

from staging.models import Event, Object, Replica
from staging.states import ReplicaState
from tests.place import Place
from tests.wire.desk import Desk, sha256


def check_stored(desk: Desk, key: str, versions: list[bytes]) -> None:
    """The key's versions are exactly these, the last one current, everywhere that one can look.

    In a mounted bucket the same bytes written twice are two versions.
    """
    rows = list(Object.objects.filter(key=key).order_by("version"))
    written = [(row.size, row.sha256) for row in rows]
    found = [one for one, _ in groupby(written)] if desk.mounted else written
    assert found == [(len(body), sha256(body)) for body in versions]
    assert [row.current for row in rows] == [False] * (len(rows) - 1) + [True] * bool(rows)
    subject = f"{desk.bucket}/{key}"
    assert Event.objects.filter(subject=subject, kind__startswith="object.").count() == len(rows)
    if not versions:
        assert desk.ask("GET", f"{desk.read(key)}?wait=0").status == 503
        return
    path, body = desk.read(key), versions[-1]
    got, head = desk.ask("GET", path), desk.ask("HEAD", path)
    assert (got.status, got.body == body) == (200, True)
    assert (head.status, head["Content-Length"]) == (200, str(len(body)))
    tag = f'"{sha256(body)}"'
    # Of two writers that publish in place at once the catalog may know the other one's version: no digest then.
    assert head["ETag"] == tag or (desk.mounted and len(head["ETag"]) < len(tag))


def check_told(desk: Desk, write_path: str, body: bytes) -> None:
    """An upload that got through is told as complete, with its digest."""
    head = desk.ask("HEAD", write_path)
    assert (head["Upload-Complete"], head["Upload-Offset"]) == ("?1", str(len(body)))
    assert head["Waybill-Sha256"] == sha256(body)


def check_bytes(place: Place) -> None:
    """Every replica that the catalog lists is the bytes that it says, hashed anew from the storage."""
    for replica in Replica.objects.filter(state=ReplicaState.AVAILABLE).select_related("object"):
        content = place.content(replica.key)
        assert (len(content), sha256(content)) == (replica.object.size, replica.object.sha256), replica.object.key
