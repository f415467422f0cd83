"""Admission: whether an upload would be refused by what is known of it before its first byte."""

from staging import catalog, health, resuming, tiers
from staging.errors import StreamInterrupted
from staging.models import Alias
from staging.offers import Offer
from staging.storages import adapter_for
from staging.writing import check, check_equal, goes_on, may_be_a_tail, taken


def admit(alias: Alias, offer: Offer) -> None:
    """Raise what ``writing.receive_part`` is sure to raise of this offer, by the same rules; reserves nothing.

    What only the bytes or the storage can tell is admitted: an upload that may turn out to be equal to what stands at
    the key, a file in the way in a mounted bucket, a part that begins where another upload ended. Space and storages
    may change by the time the body comes.
    """
    check(alias, offer)
    if goes_on(alias, offer):
        resuming.begun(alias, offer)
        return
    if may_be_a_tail(alias, offer):
        raise StreamInterrupted
    standing = catalog.current(alias.bucket, alias.key)
    refusal = taken(alias, offer, standing)
    if standing and refusal:
        check_equal(standing, offer, refusal)
        return
    storage = tiers.landing(alias.bucket, offer.whole)
    adapter_for(storage)
    if offer.whole is not None:
        health.check(storage)
