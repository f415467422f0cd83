"""Idempotency: a creating call that is repeated under the same key makes nothing new."""

import hashlib
import hmac
import re
from collections.abc import Callable

from django.conf import settings
from django.db import IntegrityError, transaction

from staging.errors import IdempotencyKeyReused, InvalidRequest
from staging.models import ApiKey, IdempotencyKey

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def once(
    api_key: ApiKey, key: str, *, route: str, request: bytes, make: Callable[[], list[str]]
) -> tuple[list[str], bool]:
    """The ids of what the first call under this key made, and whether that was an earlier call than this one.

    ``make`` touches nothing but the database: it runs in the transaction that writes the key down, so of calls that
    come at the same moment one makes and the others wait for it, and after an error of ``make`` the key is free
    again. Raises IdempotencyKeyReused where the key came with another route or request before, and InvalidRequest.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest("An Idempotency-Key has 1 to 255 printable ASCII characters and no spaces.")
    with transaction.atomic():
        try:
            with transaction.atomic():
                row = IdempotencyKey.objects.create(
                    api_key=api_key, key=key, route=route, request_sha256=_digests(request)[0]
                )
        except IntegrityError as exc:
            earlier = IdempotencyKey.objects.get(api_key=api_key, key=key)
            if earlier.route != route or earlier.request_sha256 not in _digests(request):
                raise IdempotencyKeyReused from exc
            return list(earlier.made_ids), True
        row.made_ids = make()
        row.save(update_fields=["made_ids"])
    return row.made_ids, False


def _digests(request: bytes) -> list[str]:
    """The request under each key of the ring, the newest first: a plain digest would let a password be guessed."""
    return [hmac.new(key.encode(), request, hashlib.sha256).hexdigest() for key in settings.SECRET_KEYS]
