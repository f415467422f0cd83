"""The catalog's tables, one noun a file."""

from staging.models.alias import Alias
from staging.models.api_key import ApiKey
from staging.models.beginning import Beginning
from staging.models.block_sums import BlockSums
from staging.models.broken_stream import BrokenStream
from staging.models.bucket import Bucket
from staging.models.cached_block import CachedBlock
from staging.models.checkpoint import Checkpoint, CheckpointMember
from staging.models.chore import Chore
from staging.models.copy_job import CopyJob
from staging.models.credential import Credential
from staging.models.event import Event
from staging.models.idempotency import IdempotencyKey
from staging.models.node import Node
from staging.models.object import Object
from staging.models.project import Membership, Project
from staging.models.replica import Replica
from staging.models.storage import Storage
from staging.models.transfer import Transfer
from staging.models.upload import Upload

__all__ = [
    "Alias",
    "ApiKey",
    "Beginning",
    "BlockSums",
    "BrokenStream",
    "Bucket",
    "CachedBlock",
    "Checkpoint",
    "CheckpointMember",
    "Chore",
    "CopyJob",
    "Credential",
    "Event",
    "IdempotencyKey",
    "Membership",
    "Node",
    "Object",
    "Project",
    "Replica",
    "Storage",
    "Transfer",
    "Upload",
]
