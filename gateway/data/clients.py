"""Clients: the address a request comes from, as far as it can be trusted, and whether an alias may be used there."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings

from gateway.refusals import WrongNetwork
from staging.models import Alias


def check_network(alias: Alias, environ: Mapping[str, Any]) -> None:
    """Raises WrongNetwork where the alias is bound to networks and the client is in none of them."""
    if not alias.networks:
        return
    client = address(environ)
    try:
        found = ip_address(client)
    except ValueError as exc:
        raise WrongNetwork("The client's address is not known.") from exc
    mapped = getattr(found, "ipv4_mapped", None)
    if not any((mapped or found) in ip_network(network) for network in alias.networks):
        raise WrongNetwork(f"It may not be used from {client}.")


def address(environ: Mapping[str, Any]) -> str:
    """The client's address: what the nearest proxy says of it, if that is one of ``WAYBILL_PROXY_ADDRESSES``.

    Only the last entry of X-Forwarded-For is the proxy's own word; what stands before it the client may have made up.
    """
    peer = str(environ.get("REMOTE_ADDR", ""))
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    if forwarded and is_proxy(peer):
        return forwarded.rpartition(",")[2].strip()
    return peer


def is_proxy(peer: str) -> bool:
    """Whether the other end of a connection is one of ``WAYBILL_PROXY_ADDRESSES``, as gunicorn understands them."""
    if not peer or "*" in settings.PROXY_ADDRESSES:
        return True  # A socket without addresses is as good as the permissions of its file.
    return any(ip_address(peer) in ip_network(network) for network in settings.PROXY_ADDRESSES)
