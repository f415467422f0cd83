"""System checks: what `manage.py check` refuses to start with."""

import os
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from gateway import env
from gateway.data.slots import share

#: Read elsewhere: by clients after ``. quickstart.env``, and by the tests.
_NOT_OURS = {"WAYBILL_URL", "WAYBILL_KEY", "WAYBILL_TEST_WORKERS"}


@register()
def lifetimes_fit(**_: object) -> list[CheckMessage]:
    """The default lifetime of an alias lies within the longest one allowed."""
    if settings.ALIAS_LIFETIME_S > settings.ALIAS_MAX_LIFETIME_S:
        hint = "Raise WAYBILL_ALIAS_MAX_LIFETIME_S or lower WAYBILL_ALIAS_LIFETIME_S."
        return [
            Error("The default lifetime of aliases is longer than the longest allowed.", hint=hint, id="waybill.E001")
        ]
    return []


@register()
def threads_are_left(**_: object) -> list[CheckMessage]:
    """Some threads are left for short requests when as many streams run as may."""
    if settings.MAX_STREAMS >= settings.THREADS:
        hint = "Set WAYBILL_MAX_STREAMS a dozen below WAYBILL_THREADS."
        return [Error("Streams could take every thread of the gateway.", hint=hint, id="waybill.E002")]
    return []


@register()
def waiters_fit(**_: object) -> list[CheckMessage]:
    """As many readers may wait as the settings say, and a wait lasts no longer than the longest one."""
    found: list[CheckMessage] = []
    if settings.WAIT_S > settings.MAX_WAIT_S:
        hint = "Raise WAYBILL_MAX_WAIT_S or lower WAYBILL_WAIT_S."
        found.append(Error("Readers wait longer than the longest wait allowed.", hint=hint, id="waybill.E003"))
    fit = share(settings.THREADS, settings.MAX_STREAMS, settings.MAX_WAITERS).waiters
    if fit < settings.MAX_WAITERS:
        hint = f"Raise WAYBILL_THREADS, or set WAYBILL_MAX_WAITERS to {fit}."
        found.append(Warning("Threads are left for fewer waiting readers than may wait.", hint=hint, id="waybill.W003"))
    return found


@register()
def settings_are_known(**_: object) -> list[CheckMessage]:
    """A misspelt setting would be ignored without a word."""
    unknown = sorted(n for n in os.environ if n.startswith("WAYBILL_") and n not in env.DECLARED.keys() | _NOT_OURS)
    hint = "docs/settings.md lists all settings."
    return [Warning(f"{name} is no setting of Waybill.", hint=hint, id="waybill.W002") for name in unknown]


@register(deploy=True)
def tokens_travel_encrypted(**_: object) -> list[CheckMessage]:
    """Alias URLs are secrets, so outside one's own machine they should be HTTPS."""
    url = urlsplit(settings.PUBLIC_URL)
    if url.scheme != "https" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        hint = "Put a proxy with TLS in front (deploy/nginx.conf) and set WAYBILL_PUBLIC_URL to its https address."
        return [Warning("Alias URLs travel unencrypted.", hint=hint, id="waybill.W001")]
    return []
