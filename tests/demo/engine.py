"""What a workflow engine needs of Waybill's REST API: an address, a key, and JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Failed(Exception):
    """A step did not do what it is there to show; the message says which and how."""


@dataclass(frozen=True)
class Engine:
    url: str
    key: str

    @classmethod
    def from_quickstart(cls, file: Path) -> Engine | None:
        """The gateway that ``make up`` left the address of, if it answers."""
        if not file.exists():
            return None
        values = dict(line.split("=", 1) for line in file.read_text().splitlines())
        engine = cls(values["WAYBILL_URL"], values["WAYBILL_KEY"])
        try:
            engine.call("GET", "whoami")
        except (Failed, OSError):
            return None
        return engine

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, None where there is none. Raises Failed with the problem that the gateway names."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                raise Failed(f"{method} {path}: {exc.code} {exc.read().decode(errors='replace').strip()}") from exc
        return json.loads(content) if content else None
