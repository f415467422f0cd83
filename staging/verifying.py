"""Verifying: a copy is read whole and compared with what the catalog says of it; a damaged one is served to nobody."""

from adapters.errors import NotFound
from staging import claims, replicas, replication, sharing
from staging.claims import Claim
from staging.connections import release
from staging.models import Transfer
from staging.models.replica import STANDING
from staging.proving import sha256_of
from staging.states import TransferState
from staging.storages import adapter_for


def verify(transfer: Transfer, claim: Claim) -> None:
    """Read the copy; what is missing or differs is condemned, and made anew from another where there is one.

    Raises what the storage raises: a storage that does not answer says nothing of its bytes.
    """
    replica = transfer.source
    if replica is not None and replica.state in STANDING and replica.object.kept:
        adapter = adapter_for(replica.storage)
        release()
        missing = False
        try:
            found = sha256_of(adapter, replica.key, lambda _: claim.keep(transfer.size))
            wrong = "" if found == replica.object.sha256 else f"its SHA-256 is {found}"
        except NotFound:
            wrong, missing = "it is not there", True
        claim.confirm(transfer.size)
        if wrong:
            sharing.condemn(replica, wrong, missing=missing)
        else:
            replicas.confirm(replica)
        replication.settle(replica.object)
    claims.finish(transfer, TransferState.DONE, bytes_done=transfer.size)
