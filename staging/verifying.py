"""Verifying: a copy is read whole and compared with what the catalog says of it; a damaged one is served to nobody."""

from adapters.base import Adapter
from adapters.errors import NotFound, Offline
from staging import claims, replicas, replication, sharing
from staging.claims import Claim
from staging.connections import release
from staging.models import Replica, Transfer
from staging.models.replica import STANDING
from staging.placement import MANAGED_FOLDER
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
            _refuse_empty(adapter, replica)
            wrong, missing = "it is not there", True
        claim.confirm(transfer.size)
        if wrong:
            sharing.condemn(replica, wrong, missing=missing)
        else:
            replicas.confirm(replica)
        replication.settle(replica.object)
    claims.finish(transfer, TransferState.DONE, bytes_done=transfer.size)


def _refuse_empty(adapter: Adapter, replica: Replica) -> None:
    """Raises Offline where a storage that is to persist shows nothing of Waybill's at all.

    The folder on which a file system is to be mounted looks so while none is; all the copies may be there.
    """
    own = f"{MANAGED_FOLDER}/"
    if replica.storage.tier != 2 or not replica.key.startswith(own):
        return
    if next(iter(adapter.scan(own, recursive=False)), None) is None:
        detail = "nothing of Waybill's is there at all; is its file system mounted, and its root the right one?"
        raise Offline(detail, storage=adapter.name, key=replica.key)
