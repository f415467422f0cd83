"""The states of everything that has one, and which changes are legal."""

from django.db.models import TextChoices


class ObjectState(TextChoices):
    """AVAILABLE ⇄ UNAVAILABLE → LOST; AVAILABLE → DELETING. Awaited and being written are derived, never stored."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    DELETING = "deleting"


class ReplicaState(TextChoices):
    """COPYING → AVAILABLE → SUSPECT or BAD → DELETING."""

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
    """What a transfer does: remove a replica's bytes."""

    DELETE = "delete"


class StorageState(TextChoices):
    """ACTIVE → CORDONED → DRAINING → DRAINED; ACTIVE → SUSPECT → LOST."""

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
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
