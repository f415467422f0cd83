"""Beginnings: which version a client that goes on with a download may have begun with."""

from datetime import datetime, timedelta
from threading import Lock

import structlog
from django.db import Error, IntegrityError
from django.db.models import F
from django.utils import timezone

from staging.models import Alias, Beginning

log = structlog.get_logger(__name__)

#: A download that lasts longer is noted while it does, because a gateway that is killed notes nothing any more.
LONG = timedelta(seconds=1)


class Download:
    """One that begins with a version's first byte, by a client that did not say which version it is to be."""

    def __init__(self, alias: Alias, version: str) -> None:
        self._place = _place(alias, version)
        self._lock = Lock()
        self._began_at = timezone.now()
        self._noted = self._ended = False

    def begin(self) -> None:
        """Its bytes are about to go out."""
        _under_way.add(self)

    def note(self) -> None:
        """Note that it lasts, once it does. Raises django.db.Error."""
        with self._lock:
            if not (self._noted or self._ended) and timezone.now() - self._began_at >= LONG:
                _put(self._place, self._began_at, under_way=F("under_way") + 1)
                self._noted = True

    def end(self, *, complete: bool) -> None:
        """Note how it ended: whether the client has all of the file, as far as one can know. Raises django.db.Error."""
        _under_way.discard(self)
        with self._lock:
            self._ended = True
            changes: dict[str, object] = {"under_way": F("under_way") - 1} if self._noted else {}
            if not complete and not Beginning.objects.filter(**self._place, broke_off=True).exists():
                changes["broke_off"] = True
            if changes:
                _put(self._place, self._began_at, **changes)


_under_way: set[Download] = set()


def note_what_lasts() -> None:
    """Note the downloads of this process that last; to be called about once a second."""
    for download in list(_under_way):
        try:
            download.note()
        except IntegrityError:
            _under_way.discard(download)  # Its alias is gone, and nobody goes on through that.
        except Error as exc:
            log.warning("download.not_noted", error=type(exc).__name__)
            return


def note(alias: Alias, version: str) -> None:
    """A download begins with this version. Nothing is written where it was the last to be begun."""
    known = _known(alias)
    if not known or known[-1][0] != version:
        now = timezone.now()
        _put(_place(alias, version), now, at=now)


def may_go_on(alias: Alias, version: str, *, unless_begun: bool) -> bool:
    """Whether a client that does not say with which version it began has surely begun with this one.

    That is the version which was begun last, unless a download of another one lasts or broke off: nobody knows which of
    the two clients this is. ``unless_begun`` is the answer where no beginning was noted.
    """
    known = _known(alias)
    if any(is_unfinished for other, is_unfinished in known if other != version):
        return False
    return known[-1][0] == version if known else unless_begun


def _place(alias: Alias, version: str) -> dict[str, object]:
    return {"alias_id": alias.pk, "key": alias.key, "version": version}


def _known(alias: Alias) -> list[tuple[str, bool]]:
    """The versions that were begun at the alias's key, the last one last, and whether somebody may go on with each."""
    found = Beginning.objects.filter(alias_id=alias.pk, key=alias.key).order_by("at", "pk")
    rows = found.values_list("version", "broke_off", "under_way")
    return [(version, broke_off or under_way > 0) for version, broke_off, under_way in rows]


def _put(place: dict[str, object], began_at: datetime, **changes: object) -> None:
    row, _ = Beginning.objects.get_or_create(**place, defaults={"at": began_at})
    Beginning.objects.filter(pk=row.pk).update(**changes)
