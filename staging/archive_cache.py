"""The cache of archives: a large one that has not changed is not laid out again for every range of it.

Whether anything has changed is asked of the database each time, by sums over the ids of the current versions, which
are random and never used twice. It answers for a million members in a fraction of the time that their rows take.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import connection

from staging.models import Bucket, Object
from staging.models.fields import behind
from staging.states import ObjectState

if TYPE_CHECKING:
    from staging.archives import Archive

Fingerprint = tuple[int, ...]

#: Archives of fewer segments are made anew at less cost than they are kept.
LEAST_SEGMENTS = 3
#: A segment takes about 350 bytes: this bounds the memory of one process to some 7 MB.
MOST_SEGMENTS = 20_000

#: Sums that depend on which versions there are. SQLite has no function that hashes: five hexadecimal digits of the id
#: make 35 bits, so that the sum of ten million stays within 63.
_SUMS = {
    "postgresql": "SUM(CAST(uuid_hash(id) AS bigint)), SUM(uuid_hash_extended(id, 1))",
    "sqlite": "SUM(rowid), SUM(" + " + ".join(f"unicode(substr(id, {n + 1}, 1)) * {128**n}" for n in range(5)) + ")",
}

_kept: "OrderedDict[tuple[int, str], tuple[Fingerprint, Archive]]" = OrderedDict()
_keeping = threading.Lock()


def get(bucket: Bucket, prefix: str, make: "Callable[[], Archive]") -> "Archive":
    """The archive of what is current below the prefix now, made by ``make`` where it is not known."""
    place = (bucket.pk, prefix)
    now = fingerprint(bucket, prefix)
    with _keeping:
        before, archive = _kept.get(place, ((), None))
        if archive is not None and before == now:
            _kept.move_to_end(place)
            return archive
    made = make()
    # What changed in between must not be kept under this fingerprint, which comes back when all that was added goes
    # again. What was removed never comes back, so that the count tells.
    if len(made.index.segments) >= LEAST_SEGMENTS and made.count == now[0]:
        with _keeping:
            _kept[place] = (now, made)
            _kept.move_to_end(place)
            while sum(len(archive.index.segments) for _, archive in _kept.values()) > MOST_SEGMENTS:
                _kept.popitem(last=False)
    return made


def clear() -> None:
    """Forget every archive of this process."""
    with _keeping:
        _kept.clear()


def fingerprint(bucket: Bucket, prefix: str) -> Fingerprint:
    """What differs as soon as another set of versions is current below the prefix, or one of them is not available."""
    query = f"""
        SELECT COUNT(*), SUM(version), SUM(size), {_SUMS[connection.vendor]},
            SUM(CASE WHEN state = %s THEN 0 ELSE 1 END)
        FROM {connection.ops.quote_name(Object._meta.db_table)}
        WHERE bucket_id = %s AND current AND key >= %s AND key < %s"""  # noqa: S608  every value is a parameter
    with connection.cursor() as cursor:
        cursor.execute(query, [ObjectState.AVAILABLE, bucket.pk, prefix, behind(prefix)])
        row = cursor.fetchone()
    return tuple(int(value or 0) for value in row)
