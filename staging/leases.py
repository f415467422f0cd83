"""Leases: a long piece of work says now and then that it is alive."""

import time

from django.conf import settings

from staging import reservations
from staging.connections import release
from staging.models import Upload

#: A writer asks no more seldom than this whether the upload is still its own, and writes nothing before it has asked.
CONFIRM_S = 3.0


class UploadLease:
    """Keeps one upload's lease from running out, and its writer from writing when somebody else has taken it over."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._due_s = min(CONFIRM_S, settings.UPLOAD_LEASE_S / 3)
        self._renew_at = time.monotonic() + self._due_s

    def keep(self, offset: int | None = None) -> None:
        """To be called before every write, with the bytes so far. Raises LeaseLost."""
        if time.monotonic() > self._renew_at:
            reservations.renew(self._upload, offset)
            release()
            self._renew_at = time.monotonic() + self._due_s
