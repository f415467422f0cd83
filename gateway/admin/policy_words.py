"""Policies in words: what each choice means, and a whole policy as people read it."""

from gateway.admin import words
from staging.models import Bucket
from staging.policies import Policy
from staging.states import CacheMode, Spread, VerifyMode, WritePolicy

WRITES = {
    WritePolicy.THROUGH: "answered once the bytes are on the bucket's storage; a copy goes to the fast one, if any",
    WritePolicy.AROUND: "answered once the bytes are on the bucket's storage, and no fast copy is kept",
    WritePolicy.BACK: "answered once the bytes are on the fast storage, and flushed to the bucket's soon after",
    WritePolicy.EPHEMERAL: "answered once the bytes are on the fast storage, and are lost with it",
}
CACHES = {
    CacheMode.NONE: "nothing",
    CacheMode.READ: "what is read of an object",
    CacheMode.PROMOTE: "what is read again of an object",
}
SPREADS = {Spread.NONE: "wherever they are", Spread.SITES: "one for each site", Spread.NODES: "one for each node"}
VERIFIES = {
    VerifyMode.SIZE: "its size",
    VerifyMode.CHECKSUM: "the storage's own checksum, or reading it back",
    VerifyMode.READ: "reading it back whole",
}
SPILLS = {
    True: "spill to the bucket's storage",
    False: "refuse uploads",
}


def sentence(text: str) -> str:
    """The words as they stand alone."""
    return text[:1].upper() + text[1:]


def gist(policy: Policy) -> str:
    """What tells it from others, on one line."""
    told = [str(policy.write)]
    if policy.lands_on:
        told[0] += f" {'on' if policy.lands_fast else 'with'} {policy.lands_on}"
    if policy.min_replicas > 1:
        told.append(f"{policy.min_replicas} copies")
    if policy.cache != CacheMode.NONE:
        told.append("cached")
    if policy.pin:
        told.append("pinned")
    if policy.ttl_s:
        told.append(f"for {words.duration(policy.ttl_s)}")
    return ", ".join(told)


def table(bucket: Bucket) -> str:
    """The whole policy of a managed bucket."""
    policy = Policy.parse(bucket.policy)
    places = ", ".join([bucket.storage.name, *policy.replicate_to])
    rows = [
        ("New objects", f"{policy.write}: {WRITES[policy.write]}"),
        ("Fast storage", policy.lands_on or "none"),
        ("Flushed within", words.duration(policy.flush_within_s) if policy.write == WritePolicy.BACK else ""),
        ("At most unsafe", words.size(policy.dirty_budget_bytes) if policy.dirty_budget_bytes else ""),
        ("Once that is full", SPILLS[policy.spill] if policy.write == WritePolicy.EPHEMERAL else ""),
        ("Kept", f"for {words.duration(policy.ttl_s)}" if policy.ttl_s else "until deleted"),
        ("Largest object", limit(policy)),
        ("Copies that persist", f"{policy.min_replicas}, on {places}"),
        ("At most", str(policy.max_replicas or "")),
        ("Counted", SPREADS[policy.spread] if policy.min_replicas > 1 else ""),
        ("A copy is proven by", VERIFIES[policy.verify]),
        ("Cached for readers", CACHES[policy.cache]),
        ("Fast copy stays", "always: it is pinned" if policy.pin else ""),
    ]
    return words.table((name, text) for name, text in rows if text)


def limit(policy: Policy) -> str:
    """How large an object may be."""
    return words.size(policy.max_object_bytes) if policy.max_object_bytes else "the gateway's limit"
