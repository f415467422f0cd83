"""Writing: one body becomes one object, or nothing. Row first, bytes second, row last."""

from django.conf import settings
from django.utils import timezone

from staging import aliases, catalog, parking, policies, reading, reservations, resuming
from staging.connections import release
from staging.errors import (
    AliasUsedUp,
    ContentDiffers,
    DigestMismatch,
    SizeMismatch,
    StreamEmpty,
    StreamInterrupted,
    TooLarge,
)
from staging.models import Alias, BrokenStream, Object
from staging.offers import Offer, Progress, Receipt, receipt_of, take
from staging.pump import Source
from staging.reception import begin
from staging.states import OnExists

Refusal = type[ContentDiffers] | type[AliasUsedUp]


def receive(alias: Alias, offer: Offer, body: Source) -> Receipt:
    """Store the body behind the alias, all or nothing; the receipt is the promise that the catalog knows it.

    Raises the errors of ``staging.errors``, those of the storage, and whatever ``body`` raises. Then nothing of this
    body is visible, and what stood at the key before still does. What came of a body that broke off is kept for a
    client that goes on; what a failing storage did not let us clean up belongs to the janitor.
    """
    receipt = receive_part(alias, offer, body)
    assert isinstance(receipt, Receipt), "the last part makes an object"
    return receipt


def receive_part(alias: Alias, offer: Offer, body: Source, *, parks: bool = True) -> Receipt | Progress:
    """The same for a body that may be a part: what has come so far, or the receipt with the last part.

    ``parks``: where the storage cannot go on with it, it may wait on a faster one. Raises WrongOffset where the part
    does not begin where the bytes that are safe end.
    """
    limit = check(alias, offer)
    if goes_on(alias, offer):
        return resuming.go_on(alias, offer, body, limit)
    if may_be_a_tail(alias, offer):
        release()
        raise StreamInterrupted if alias.allow_empty_stream or body.read(1) else StreamEmpty
    standing = catalog.current(alias.bucket, alias.key)
    refusal = taken(alias, offer, standing)
    if standing and refusal:
        return _replay(standing, alias, offer, body, limit, refusal)
    reservations.supersede(alias, alias.key)
    upload = parking.reserve(alias, offer) if parks else None
    if upload is None:
        return begin(alias, offer, body, limit, standing)
    return parking.reception_of(upload, offer, limit).run(body, standing)


def check(alias: Alias, offer: Offer) -> int:
    """Refuse what can be refused before the first byte; returns the most bytes the whole may have."""
    limit = most_bytes(alias)
    if offer.whole is not None and offer.whole > limit:
        raise TooLarge(f"{offer.whole} bytes are announced, {limit} are allowed.")
    if offer.whole is not None and alias.size is not None and offer.whole != alias.size:
        raise SizeMismatch(f"{offer.whole} bytes are announced, the alias is for exactly {alias.size}.")
    if alias.sha256 and offer.digests.get("sha256", bytes.fromhex(alias.sha256)).hex() != alias.sha256:
        raise DigestMismatch("The digest announced is not the one that the alias was made for.")
    return limit


def most_bytes(alias: Alias) -> int:
    """How large an object through the alias may become."""
    policy = policies.of_bucket(alias.bucket)
    left = None if alias.max_total_bytes is None else max(0, alias.max_total_bytes - alias.written_bytes)
    bounds = (settings.MAX_OBJECT_BYTES, policy.max_object_bytes or None, alias.max_bytes, left)
    return min(bound for bound in bounds if bound is not None)


def note_stream_cut(alias: Alias, key: str) -> None:
    """Remember that a body of unknown length did not make it; see ``StreamInterrupted``."""
    BrokenStream.objects.get_or_create(alias=alias, key=key)


def goes_on(alias: Alias, offer: Offer) -> bool:
    """Whether the body is to be appended to an upload that was begun."""
    return offer.start > 0 or (offer.appends and resuming.is_begun(alias))


def taken(alias: Alias, offer: Offer, standing: Object | None) -> Refusal | None:
    """What all but the content that stands at the key is refused with; None where the key takes anything.

    Raises the refusal where not even equal content is taken.
    """
    if aliases.is_used_up(alias):
        if standing is None or not offer.is_last or not reading.has_bytes(standing):
            raise AliasUsedUp
        return AliasUsedUp
    if standing and not alias.bucket.mounted and alias.on_exists == OnExists.FAIL and reading.has_bytes(standing):
        if not offer.is_last:
            raise ContentDiffers
        return ContentDiffers
    return None


def check_equal(standing: Object, offer: Offer, refusal: Refusal) -> None:
    """Refuse a body that, by what is announced of it, cannot be equal to what stands at the key."""
    if offer.size not in (None, standing.size):
        raise refusal
    if offer.digests.get("sha256", bytes.fromhex(standing.sha256)).hex() != standing.sha256:
        raise refusal


def may_be_a_tail(alias: Alias, offer: Offer) -> bool:
    """curl goes on in the middle of its standard input when it retries: what looks like a body may be a tail."""
    if offer.size is not None or offer.resumable or offer.digests or alias.sha256:
        return False
    streams = alias.uploads.filter(target_key=alias.key, declared_size=None)
    return alias.broken_streams.filter(key=alias.key).exists() or streams.exists()


def _replay(
    standing: Object,
    alias: Alias,
    offer: Offer,
    body: Source,
    limit: int,
    refusal: Refusal,
) -> Receipt:
    """The key is taken: the body is only compared with what stands there."""

    def within(moved: int) -> None:
        if moved > min(limit, standing.size):
            raise refusal

    check_equal(standing, offer, refusal)
    began = timezone.now()
    release()
    if take(body, lambda _: None, alias, offer, on_progress=within).sha256 != standing.sha256:
        raise refusal
    reservations.outdate(alias.bucket, [alias.key], began)
    return receipt_of(standing, replayed=True)
