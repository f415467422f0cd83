"""Reading the options that several kinds of storage have: each raises ValueError that begins with the option's name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

# What begins with a hyphen would be an option of a program such as ssh.
_HOST = re.compile(r"(?!-)[^\s/@\[\]?#\x00-\x20\x7f]+")


def whole_number(
    options: Mapping[str, object], setting: str, default: int, *, least: int = 1, most: int = 86_400
) -> int:
    """Seconds of at most a day, unless the bounds say otherwise."""
    value = options.get(setting)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{setting}: a whole number from {least} to {most} was expected")
    return value


def port(options: Mapping[str, object], default: int) -> int:
    """A TCP port."""
    return whole_number(options, "port", default, most=65_535)


def host(options: Mapping[str, object]) -> str:
    """A server's name in lower case, or its address in the one form that it has."""
    found = options.get("host")
    if not isinstance(found, str) or not _HOST.fullmatch(found):
        raise ValueError("host: the name or address of a server was expected")
    if ":" in found:
        try:
            return str(ipaddress.IPv6Address(found))
        except ValueError as exc:
            raise ValueError("host: a name or an address was expected; the port is a setting of its own") from exc
    return found.lower()


def authority(host: str, port: int) -> str:
    """``host:port`` as a URI has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
