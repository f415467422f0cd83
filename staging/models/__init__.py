"""The catalog's tables, one noun a file."""

from staging.models.alias import Alias
from staging.models.api_key import ApiKey
from staging.models.block_sums import BlockSums
from staging.models.broken_stream import BrokenStream
from staging.models.bucket import Bucket
from staging.models.checkpoint import Checkpoint, CheckpointMember
from staging.models.chore import Chore
from staging.models.credential import Credential
from staging.models.event import Event
from staging.models.idempotency import IdempotencyKey
from staging.models.object import Object
from staging.models.project import Membership, Project
from staging.models.replica import Replica
from staging.models.storage import Storage
from staging.models.transfer import Transfer
from staging.models.upload import Upload

__all__ = [
    "Alias",
    "ApiKey",
    "BlockSums",
    "BrokenStream",
    "Bucket",
    "Checkpoint",
    "CheckpointMember",
    "Chore",
    "Credential",
    "Event",
    "IdempotencyKey",
    "Membership",
    "Object",
    "Project",
    "Replica",
    "Storage",
    "Transfer",
    "Upload",
]
