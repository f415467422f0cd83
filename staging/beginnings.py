"""Beginnings: which version a client that goes on with a download may have begun with."""

from django.utils import timezone

from staging.models import Alias, Beginning


def note(alias: Alias, version: str) -> None:
    """A download begins with this version. Nothing is written where it was the last to be begun."""
    known = _known(alias)
    if not known or known[-1][0] != version:
        _put(alias, version, at=timezone.now())


def note_break(alias: Alias, version: str) -> None:
    """A download of this version did not come to its end."""
    if (version, True) not in _known(alias):
        _put(alias, version, broke_off=True)


def may_go_on(alias: Alias, version: str, *, unless_begun: bool) -> bool:
    """Whether a client that does not say with which version it began has surely begun with this one.

    That is the version which was begun last, unless a download of another one broke off: nobody knows which of the two
    clients this is. ``unless_begun`` is the answer where no beginning was noted.
    """
    known = _known(alias)
    if any(broke_off for other, broke_off in known if other != version):
        return False
    return known[-1][0] == version if known else unless_begun


def _known(alias: Alias) -> list[tuple[str, bool]]:
    """The versions that were begun at the alias's key, the last one last."""
    found = Beginning.objects.filter(alias_id=alias.pk, key=alias.key)
    return list(found.order_by("at", "pk").values_list("version", "broke_off"))


def _put(alias: Alias, version: str, **changes: object) -> None:
    Beginning.objects.update_or_create(alias_id=alias.pk, key=alias.key, version=version, defaults=changes)
