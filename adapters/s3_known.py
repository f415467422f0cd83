"""What this process has found out about a server: all adapters of it share that, however often they are built anew."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from adapters.s3_settings import S3Settings


@dataclass(eq=False, slots=True)
class Known:
    """None is what is not known yet; ``adapters.s3_powers`` finds it out by trying, ``is_far`` by measuring.

    ``honours_create`` is whether the server honours ``If-None-Match: *``; ``atomic_create`` is whether it is known to
    do so for two requests at the same moment too; ``checks_sums`` is whether it compares the sum behind a body, and
    ``tells_sums`` whether it may be asked for the sum of what is read.
    """

    honours_create: bool | None = None
    atomic_create: bool = False
    checks_sums: bool | None = None
    tells_sums: bool = True
    is_far: bool | None = None
    learning: threading.Lock = field(default_factory=threading.Lock)
    learn_after: float = 0.0


_servers: dict[tuple[str, str, str], Known] = {}


def known_of(settings: S3Settings) -> Known:
    """One for each bucket: a server may be several behind one address."""
    return _servers.setdefault((settings.endpoint, settings.region, settings.bucket), Known())
