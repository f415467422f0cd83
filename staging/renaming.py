"""Renaming: an object, or all of a folder, gets another key in its bucket. Catalog rows change and no byte moves.

Where the bytes of managed objects lie has nothing to do with their keys. Aliases name keys, not objects: those of the
old key find nothing there from now on, and take uploads to it as before. A version that was replaced or deleted before
stays at its old key until its bytes are gone, where whoever is still reading it looks for it.
"""

from dataclasses import dataclass

from django.db import IntegrityError, transaction

from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import events, versions
from staging.errors import InvalidRequest, NameTaken, NotFound
from staging.models import Bucket, Object
from staging.models.fields import behind

#: The most objects that one call renames. A thousand take some 0.2 s, in which those who replace objects of the bucket
#: wait, and on SQLite all who write: they give up after 20 s.
MOST = 20_000
#: Rows that are asked for and written at a time.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Renamed:
    """How many objects have another key now, and how large they are together."""

    objects: int
    bytes: int


def rename(bucket: Bucket, source: str, target: str) -> Renamed:
    """Let the object at the key ``source``, or all below it where it ends in ``/``, be at ``target``; all or nothing.

    The same name twice changes nothing. Raises InvalidRequest, NotFound where nothing is there, and NameTaken where
    something is at a new key already.
    """
    _check(bucket, source, target)
    contents = Object.objects.filter(bucket=bucket, current=True)
    is_folder = source.endswith("/")
    named = contents.filter(key__gte=source, key__lt=behind(source)) if is_folder else contents.filter(key=source)
    count = named.count()
    if not count:
        what = "nothing below" if is_folder else "no object"
        raise NotFound(f"There is {what} {source!r} in the bucket {bucket}.")
    if count > MOST:
        raise InvalidRequest("That is too much at once.", fields={"from": f"at most {MOST} objects; it has {count}"})
    if source == target:
        return Renamed(0, 0)
    try:
        with transaction.atomic():
            # Two who rename take turns, and so do those who replace. Whoever else writes a key first keeps it.
            Bucket.objects.select_for_update(no_key=True).get(pk=bucket.pk)
            return _rename(bucket, source, target)
    except InvalidKey as exc:
        raise InvalidRequest("A new key is not valid.", fields={"to": f"{exc.key!r}: {exc.detail}"}) from exc
    except IntegrityError as exc:
        raise NameTaken(f"An object came to be below {target!r} at this very moment.") from exc


def _rename(bucket: Bucket, source: str, target: str) -> Renamed:
    objects = size = 0
    after = source if source.endswith("/") else ""
    while moves := versions.rename(bucket, source, target, after=after, limit=_BATCH):
        after = moves[-1].object.key
        events.record_renamed(bucket, moves)
        objects += len(moves)
        size += sum(move.object.size for move in moves)
    if not objects:
        raise NotFound(f"There is nothing at {source!r} in the bucket {bucket} any more.")
    return Renamed(objects, size)


def _check(bucket: Bucket, source: str, target: str) -> None:
    if bucket.mounted:
        raise InvalidRequest("A mounted bucket mirrors one folder, in place: rename its files on the storage.")
    for name, key in (("from", source), ("to", target)):
        _check_key(name, key.removesuffix("/"))
    if source.endswith("/") != target.endswith("/"):
        raise InvalidRequest("An object cannot become a folder.", fields={"to": "end both in '/', or neither"})
    if source != target and source.endswith("/") and (target.startswith(source) or source.startswith(target)):
        raise InvalidRequest("One of the folders lies in the other.", fields={"to": "a folder beside it"})


def _check_key(name: str, key: str) -> None:
    try:
        check_key(key)
    except InvalidKey as exc:
        raise InvalidRequest("A key is not valid.", fields={name: exc.detail}) from exc
