"""The URLs that are given out."""

from urllib.parse import quote

from django.conf import settings

from staging import aliases
from staging.models import Alias


def alias_url(alias: Alias) -> str:
    """The alias's whole URL, secret included: for its owner only, never for a log."""
    return f"{settings.PUBLIC_URL}/a/{aliases.token_of(alias)}/{quote(aliases.file_name(alias), safe='')}"
