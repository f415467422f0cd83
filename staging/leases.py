"""Leases: a long piece of work says now and then that it is alive."""

import time

from django.conf import settings

from staging import catalog
from staging.connections import release
from staging.models import Upload


class UploadLease:
    """Keeps one upload's lease from running out; asks the database at most every third of it."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._renew_at = time.monotonic() + settings.UPLOAD_LEASE_S / 3

    def keep(self) -> None:
        """To be called with every chunk. Raises LeaseLost where somebody else took the upload over."""
        if time.monotonic() > self._renew_at:
            catalog.renew(self._upload)
            release()
            self._renew_at = time.monotonic() + settings.UPLOAD_LEASE_S / 3
