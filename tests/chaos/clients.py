"""Clients that write, read, rename and delete through whichever gateway answers, as patient as curl, and keep books.

What takes workers some time is an errand (tests/chaos/errands.py): its keys are left alone until it is over.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.chaos import errands
from tests.chaos.world import MOST_BYTES, POLICIES, Slot

#: What curl's ``--retry`` tries again, whatever the answer says of itself.
_CURL_RETRIES = (408, 429, 500, 502, 503, 504)
#: A storage that is full is a person's business, as the contract has it; here it has room again a moment later.
_FULL = 507
#: So long a client tries before it gives up, which none may have to; on a busy machine a kill takes its time too.
PATIENCE_S = 240
_PIECE = 64 * 1024
#: Longer than SQLite's writers wait for each other: a request that was left alone and is done later would harm others.
_TIMEOUT_S = 90
#: Errands that one client has at a time.
_ERRANDS = 2


class Breach(AssertionError):
    """Something that must never happen has happened."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; status 0 stands for none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def may_pass(self) -> bool:
        """Whether a client comes again."""
        return self.status in (0, _FULL, *_CURL_RETRIES) or self.headers.get("waybill-retryable") == "true"

    def json(self) -> Any:
        """The document that the API answered."""
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.headers.get('waybill-error-code', '')} {self.body[:200]!r}"


class Client(threading.Thread):
    """``standing`` tells for each key what may stand there: bytes, or None for nothing; ``versions`` which it is.

    ``held`` are the keys that errands work on. ``kept`` are checkpoints, with the contents of their members. What is
    ``wanted`` is done rather than anything else: the kinds of work at which somebody is still to be killed.
    """

    def __init__(self, number: int, slots: Sequence[Slot], ports: Sequence[int], api_key: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.number, self.slots, self.dice = number, slots, Random(seed)
        self.standing: dict[Slot, set[bytes | None]] = {slot: {None} for slot in slots}
        self.versions: dict[Slot, object] = {}
        self.held: set[Slot] = set()
        self.diary: deque[tuple[object, ...]] = deque(maxlen=600)
        self.kept: dict[str, dict[Slot, bytes]] = {}
        self.done: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.breach: BaseException | None = None
        self.ending = threading.Event()
        self.wanted: Callable[[], Sequence[str]] = list
        self._ports, self._key = list(ports), api_key
        self._errands: list[Iterator[str]] = []

    def run(self) -> None:
        deeds = [self.put] * 5 + [self._stream] + [self.get] * 3
        deeds += [self._remove, self._rename, self._verify, self._demote] + [self._errand] * 3
        try:
            while self._errands or not self.ending.is_set():
                self._go_on()
                free = [slot for slot in self.slots if slot not in self.held]
                if free and not self.ending.is_set():
                    deed = self._leading_to_what_is_wanted() or self.dice.choice(deeds)
                    deed(self.dice.choice(free))
                    self.done[deed.__name__.strip("_")] += 1
                time.sleep(self.dice.random() * 0.03)
        except BaseException as exc:  # noqa: BLE001  told by whoever waits for the clients
            self.breach = exc

    def check(self) -> None:
        """Read all that was acknowledged, and what checkpoints keep."""
        for slot in self.slots:
            self.get(slot)
        for name in self.kept:
            errands.read_members(self, name)

    def settle(self, slot: Slot, content: bytes | None, version: object = None) -> None:
        """Nothing but this content stands there now: as the version that is given, else as a new one if it differs."""
        if version is not None or self.standing[slot] != {content}:
            self.versions[slot] = version or object()
        self.standing[slot] = {content}

    def _leading_to_what_is_wanted(self) -> Callable[[Slot], None] | None:
        wanted = self.wanted()
        if not wanted or self.dice.random() < 0.3:
            return None
        kind = self.dice.choice(wanted)
        if kind in errands.KINDS:
            return self._errand
        return {"rename": self._rename, "demote": self._demote, "verify": self._verify, "delete": self._remove}.get(
            kind
        )

    def _errand(self, _: Slot) -> None:
        if len(self._errands) < _ERRANDS:
            wanted = [kind for kind in self.wanted() if kind in errands.KINDS]
            kind = self.dice.choice(wanted or errands.KINDS)
            self._errands.append(errands.begin(self, kind))

    def _go_on(self) -> None:
        for errand in list(self._errands):
            if (news := next(errand, None)) is None:
                self._errands.remove(errand)
            elif news:
                self.done[news] += 1

    def put(self, slot: Slot) -> None:
        data, before = self._body(), set(self.standing[slot])
        self.standing[slot].add(data)
        # Who goes on where an upload broke off says of what; else it could be another's beginning.
        goes_on, offset = self.dice.random() < 0.5, 0
        always = {"Waybill-Sha256": hashlib.sha256(data).hexdigest()} if goes_on else {}
        for tries in self._patiently(f"PUT {slot.bucket}/{slot.key} of {len(data)} bytes"):
            part = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} if offset else {}
            headers = {**always, **part}
            answer = self._ask("PUT", slot.write, headers, _pieces(data[offset:]), len(data) - offset)
            if answer.status in (200, 201):
                self._replace(slot, data, before)
                return
            if offset and answer.status == 409:
                offset = 0
            elif not answer.may_pass:
                raise Breach(f"a PUT to {slot} was refused for good at try {tries}: {answer}")
            elif goes_on:
                offset = self._offset(slot, len(data))

    def _offset(self, slot: Slot, size: int) -> int:
        """Where an upload that broke off goes on, as stage.sh asks."""
        answer = self._ask("HEAD", slot.write)
        offset = int(answer.headers.get("upload-offset", 0))
        is_ours = answer.headers.get("upload-length", str(size)) == str(size)
        return offset if answer.headers.get("upload-complete") == "?0" and is_ours and offset < size else 0

    def _stream(self, slot: Slot) -> None:
        """A body of unknown length cannot be sent again: where it fails, the job writes a file, as in ``put``."""
        data, before = self._body() + b".", set(self.standing[slot])
        self.standing[slot].add(data)
        answer = self._ask("PUT", slot.write, {"Transfer-Encoding": "chunked"}, _pieces(data))
        if answer.status in (200, 201):
            self._replace(slot, data, before)
        else:
            self.put(slot)

    def _replace(self, slot: Slot, data: bytes, before: set[bytes | None]) -> None:
        self.standing[slot] = before  # Equal content that stands there stays the version that it is.
        self.settle(slot, data)

    def get(self, slot: Slot) -> None:
        """What is read is what stands there, and nothing is read where nothing does."""
        may_stand = self.standing[slot]
        for _ in self._patiently(f"GET {slot.bucket}/{slot.key}"):
            answer = self._ask("GET", f"{slot.read}?wait=0")
            if answer.status == 200:
                if answer.body not in may_stand:
                    raise Breach(f"{slot} has {len(answer.body)} wrong bytes of {sorted(map(_length, may_stand))}")
                self.standing[slot] = {answer.body}
                return
            code = answer.headers.get("waybill-error-code")
            if None in may_stand and code in ("data_pending", "source_missing"):
                self.standing[slot] = {None}
                return
            if not answer.may_pass:
                raise Breach(f"a GET of {slot}, where {sorted(map(_length, may_stand))} stand: {answer}")

    def _remove(self, slot: Slot) -> None:
        if None in self.standing[slot]:
            return
        self.standing[slot].add(None)
        self.call("DELETE", f"/buckets/{slot.bucket}/objects/{slot.key}", fine=(202, 204, 404))
        self.standing[slot] = {None}

    def _rename(self, slot: Slot) -> None:
        free = [one for one in self.slots if one.bucket == slot.bucket and self.standing[one] == {None}]
        free = [one for one in free if one not in self.held and not one.is_mounted]
        if not free or len(self.standing[slot]) != 1 or None in self.standing[slot]:
            return
        to = self.dice.choice(free)
        self.standing[to], self.standing[slot] = self.standing[slot] | {None}, self.standing[slot] | {None}
        body = {"from": slot.key, "to": to.key}
        self.call("POST", f"/buckets/{slot.bucket}/rename", body, fine=(200, 404))
        self.standing[to], self.standing[slot] = self.standing[to] - {None}, {None}
        self.versions[to] = self.versions[slot]

    def _verify(self, slot: Slot) -> None:
        if not slot.is_mounted:
            self.call("POST", f"/buckets/{slot.bucket}/verify/{slot.key}", fine=(202, 404))

    def _demote(self, slot: Slot) -> None:
        if "lands_on" in POLICIES.get(slot.bucket, {}):
            self.call("POST", f"/buckets/{slot.bucket}/demote/{slot.key}", fine=(202, 404))

    def read(self, path: str) -> bytes:
        """What an alias that must have its bytes gives, sooner or later."""
        for _ in self._patiently(f"GET {path}"):
            answer = self._ask("GET", f"{path}?wait=0")
            if answer.status == 200:
                return answer.body
            if not answer.may_pass:
                raise Breach(f"GET {path}: {answer}")
        raise AssertionError

    def call(self, method: str, path: str, document: Any = None, *, fine: tuple[int, ...], once: str = "") -> Answer:
        """The API, again and again until it answers one of the statuses. ``once`` is what tells one call of another."""
        body = json.dumps(document).encode() if document is not None else b""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": once} if once else {}
        for _ in self._patiently(f"{method} {path}"):
            answer = self._ask(method, f"/api/v1{path}", headers, _pieces(body), len(body))
            if answer.status in fine:
                return answer
            if not answer.may_pass:
                raise Breach(f"{method} {path} {document}: {answer}")
        raise AssertionError

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterator[bytes] | None = None,
        length: int | None = None,
    ) -> Answer:
        """One request on a connection of its own; the other gateway is asked next time where this one fails."""
        began, about = time.monotonic(), f"{length} bytes"
        head = {**(headers or {}), **({"Content-Length": str(length)} if length is not None else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body, head, encode_chunked=length is None and body is not None)
            got = connection.getresponse()
            answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        except (OSError, http.client.HTTPException) as exc:
            self._ports.reverse()
            answer = Answer(0, {}, type(exc).__name__.encode())
        finally:
            connection.close()
        self.diary.append((began, f"{time.monotonic() - began:.1f} s", method, path, about, str(answer)[:60]))
        self.answers[f"{method} {answer.status} {answer.headers.get('waybill-error-code', '')}".strip()] += 1
        return answer

    def _patiently(self, what: str) -> Iterator[int]:
        """Tries with growing waits, as many as fit into a client's patience. Raises Breach behind them."""
        until, tries = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < until:
            tries += 1
            yield tries
            time.sleep(min(0.3, 0.02 * 2**tries) * self.dice.random())
        raise Breach(f"not within {PATIENCE_S} s and {tries} tries: {what}")

    def _body(self) -> bytes:
        size = self.dice.choice([0, 10, _PIECE, MOST_BYTES // 4, MOST_BYTES // 2, MOST_BYTES])
        return self.dice.randbytes(size)


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _length(data: bytes | None) -> int:
    return -1 if data is None else len(data)
