"""The states of everything that has one, and which changes are legal."""

from django.db.models import TextChoices


class ObjectState(TextChoices):
    """AVAILABLE ⇄ UNAVAILABLE → LOST; AVAILABLE → DELETING. Awaited and being written are derived, never stored."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    DELETING = "deleting"


class ReplicaState(TextChoices):
    """COPYING → AVAILABLE → SUSPECT (to be read back before it counts again) or BAD → DELETING."""

    COPYING = "copying"
    AVAILABLE = "available"
    SUSPECT = "suspect"
    BAD = "bad"
    DELETING = "deleting"


class TransferState(TextChoices):
    """QUEUED → RUNNING → DONE, FAILED or CANCELLED; RUNNING → QUEUED while attempts are left."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TransferKind(TextChoices):
    """What a transfer does: bring a copy to another storage, look at one again, or remove its bytes.

    FLUSH makes the first copy where the policy wants the bytes to be safe, REPLICATE a further one, PROMOTE one on a
    faster storage. VERIFY reads a copy whole. EVICT makes room on a fast storage, DELETE follows a deletion. COPY makes
    another object of one, MOVE removes that afterwards; both are parts of a copy that somebody asked for.
    """

    FLUSH = "flush"
    REPLICATE = "replicate"
    PROMOTE = "promote"
    VERIFY = "verify"
    EVICT = "evict"
    DELETE = "delete"
    COPY = "copy"
    MOVE = "move"

    @property
    def copies(self) -> bool:
        """Whether bytes are brought to ``target``."""
        return self in (TransferKind.FLUSH, TransferKind.REPLICATE, TransferKind.PROMOTE)

    @property
    def removes(self) -> bool:
        """Whether the bytes of ``source`` are removed."""
        return self in (TransferKind.EVICT, TransferKind.DELETE)

    @property
    def carries(self) -> bool:
        """Whether it makes another object, rather than a replica of one."""
        return self in (TransferKind.COPY, TransferKind.MOVE)


class CheckpointState(TextChoices):
    """PENDING → COMPLETE, once all of it is persisted, or FAILED, where some of it is lost."""

    PENDING = "pending"
    COMPLETE = "complete"
    FAILED = "failed"


class WritePolicy(TextChoices):
    """When a PUT is answered, and what becomes of its bytes.

    THROUGH: when they are on the bucket's storage; a copy goes to the fast one. AROUND: the same, without that copy.
    BACK: when they are on the fast storage, from which they are flushed. EPHEMERAL: they stay there.
    """

    THROUGH = "through"
    AROUND = "around"
    BACK = "back"
    EPHEMERAL = "ephemeral"


class CacheMode(TextChoices):
    """When a read brings the blocks that it touches to the fast storage: never, at the first read, or at the second."""

    NONE = "none"
    READ = "read"
    PROMOTE = "promote"


class BlockState(TextChoices):
    """FILLING → READY → REMOVING; FILLING → REMOVING where its filler gave up or was given up."""

    FILLING = "filling"
    READY = "ready"
    REMOVING = "removing"


class Spread(TextChoices):
    """What the copies that a policy counts must not share."""

    NONE = "none"
    SITES = "sites"
    NODES = "nodes"


class VerifyMode(TextChoices):
    """What proves a new copy, beside the digest of the bytes on their way: its size, the storage's word, or reading."""

    SIZE = "size"
    CHECKSUM = "checksum"
    READ = "read"


class StorageState(TextChoices):
    """ACTIVE → CORDONED → DRAINING → DRAINED; ACTIVE → SUSPECT → LOST."""

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    SUSPECT = "suspect"
    LOST = "lost"


class NodeState(TextChoices):
    """Whether its heartbeat comes: ACTIVE → SUSPECT → LOST, and ACTIVE again; a drain is told besides."""

    ACTIVE = "active"
    SUSPECT = "suspect"
    LOST = "lost"


class AliasMode(TextChoices):
    """The one direction an alias works in, and whether it stands for one object or for all below a prefix."""

    READ = "read"
    WRITE = "write"
    READ_PREFIX = "read-prefix"
    WRITE_PREFIX = "write-prefix"

    @property
    def reads(self) -> bool:
        """Whether bytes go out through it."""
        return self in (AliasMode.READ, AliasMode.READ_PREFIX)

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for all objects below a prefix."""
        return self in (AliasMode.READ_PREFIX, AliasMode.WRITE_PREFIX)


class AliasState(TextChoices):
    """What has become of an alias, derived from its times and counts; never stored."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"
    USED_UP = "used up"


class OnExists(TextChoices):
    """What a write alias does when its key holds an object of other content."""

    FAIL = "fail"
    REPLACE = "replace"


class CopyOnExists(TextChoices):
    """What a copy does where its key holds an object of other content; SKIP leaves both as they are."""

    FAIL = "fail"
    REPLACE = "replace"
    SKIP = "skip"


class CopyState(TextChoices):
    """RUNNING → DONE, FAILED (parts of it) or CANCELLED; RUNNING again where it is retried."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Role(TextChoices):
    """What a member or an API key may do in a project; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this role may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Durability(TextChoices):
    """How safe an object is at this moment, derived from its replicas; never stored."""

    EPHEMERAL = "ephemeral"
    LOCAL = "local"
    REPLICATED = "replicated"
    PERSISTED = "persisted"
