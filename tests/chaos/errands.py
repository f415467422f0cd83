"""Errands: copies, moves and checkpoints, which a client asks for, comes back to until they are over, and looks over.

Each is an iterator whose items are news to count: a word, or nothing while workers are at it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.chaos.world import KEYS_EACH, Slot

if TYPE_CHECKING:
    from tests.chaos.clients import Client

#: What troubles do to a copy; it may be given up for nothing else than these, and what ``on_exists`` says.
_TROUBLES = ("offline", "out_of_space", "no_space", "storage_closed", "failing", "unavailable")
_THROUGH_WORKERS = [("inbox", "shelf"), ("inbox", "back"), ("shelf", "pair"), ("outbox", "around"), ("shelf", "outbox")]
_THROUGH_WORKERS += [("ephemeral", "outbox"), ("back", "inbox"), ("two", "outbox"), ("through", "inbox")]
_WITHIN = [("inbox", "outbox"), ("outbox", "inbox"), ("around", "shelf"), ("two", "shelf"), ("pair", "shelf")]
_IN_THE_CATALOG = [
    ("through", "around"),
    ("back", "two"),
    ("pair", "ephemeral"),
    ("two", "back"),
    ("ephemeral", "pair"),
]
#: From which bucket to which, by what comes of it: bytes pass through workers, a storage copies by itself, none move.
_ROUTES = {
    "copy": _THROUGH_WORKERS,
    "move": _THROUGH_WORKERS,
    "within": _WITHIN,
    "share": _IN_THE_CATALOG,
    "plan": [*_THROUGH_WORKERS, *_WITHIN, *_IN_THE_CATALOG],
}
#: The kinds of work that errands lead to.
KINDS = (*_ROUTES, "checkpoint", "restore", "unpin")
#: So long may an errand take; it is chaos that makes it wait.
_PATIENCE_S = 270
_KEPT = 2
#: How long a client waits before it asks again, first and at most.
_ASKS_AGAIN_S = (0.2, 2.0)


def begin(client: Client, kind: str) -> Iterator[str]:
    """An errand that leads to work of the kind."""
    if kind in ("checkpoint", "restore", "unpin"):
        return _checkpoint(client, kind)
    return _copy(client, _ROUTES[kind], moves=kind == "move" or (kind != "copy" and client.dice.random() < 0.5))


def _copy(client: Client, routes: Sequence[tuple[str, str]], *, moves: bool) -> Iterator[str]:
    """One object, or a folder, goes to another bucket, or is moved there; it is tried again where it failed."""
    source, target = client.dice.choice(routes)
    pairs = _pairs(client, source, target)
    if not pairs:
        return
    with _held(client, [slot for pair in pairs for slot in pair]):
        if not any(None not in client.standing[one] for one, _ in pairs):
            client.put(pairs[0][0])
        yield from _Copy(client, pairs, moves).run()


class _Copy:
    def __init__(self, client: Client, pairs: Sequence[tuple[Slot, Slot]], moves: bool) -> None:
        self._client, self._moves = client, moves
        self._how = client.dice.choice(["replace"] * 4 + ["skip", "fail"])
        self._pairs = [pair for pair in pairs if None not in client.standing[pair[0]]]
        self._was = {slot: _only(client.standing[slot]) for pair in self._pairs for slot in pair}
        is_folder = len(pairs) > 1
        one, other = pairs[0]
        self._body = {
            "from": f"{one.bucket}/{_folder(one) if is_folder else one.key}",
            "to": f"{other.bucket}/{_folder(other) if is_folder else other.key}",
            "on_exists": self._how,
            "move": self._moves,
        }

    def run(self) -> Iterator[str]:
        client = self._client
        self._widen()
        answer = client.call("POST", "/copies", self._body, fine=(201, 409), once=uuid.uuid4().hex)
        if answer.status == 409:
            self._expect(self._how == "fail" and any(map(self._is_taken, self._pairs)), f"refused: {answer}")
            self._look_over()
            yield "copy refused"
            return
        job = answer.json()
        if client.dice.random() < 0.1:
            client.call("POST", f"/copies/{job['id']}/cancel", fine=(200,))
        while True:
            for document in _until(client, f"/copies/{job['id']}", lambda one: one["state"] != "running"):
                job = document
                yield ""
            self._judge(job)
            yield f"{'move' if self._moves else 'copy'} {job['state']}"
            if job["state"] != "failed" or job["error_code"] not in _TROUBLES or client.dice.random() < 0.3:
                return
            self._widen()
            client.call("POST", f"/copies/{job['id']}/retry", fine=(200, 400))  # 400: it is running again already.
            yield "copy tried again"

    def _widen(self) -> None:
        for source, target in self._pairs:
            self._client.standing[target] = {self._was[target], self._was[source]}
            self._client.standing[source] = {self._was[source], None} if self._moves else {self._was[source]}

    def _judge(self, job: dict[str, Any]) -> None:
        if job["state"] == "done":
            counts = job["objects_found"], job["objects_done"] + job["objects_skipped"], job["objects_failed"]
            self._expect(counts == (len(self._pairs), len(self._pairs), 0), str(job))
            for pair in self._pairs:
                source, target = pair
                taken = self._is_taken(pair)
                self._expect(not taken or self._how != "fail", f"it should have failed: {job}")
                if not taken or self._how == "replace":
                    self._client.settle(target, self._was[source])
                    if self._moves:
                        self._client.settle(source, None)
                else:
                    self._client.standing[source] = {self._was[source]}
                    self._client.standing[target] = {self._was[target]}
        elif job["state"] == "failed":
            differs = self._how == "fail" and any(map(self._is_taken, self._pairs))
            self._expect(
                job["error_code"] in _TROUBLES or (job["error_code"] == "already_exists" and differs), str(job)
            )
        self._look_over()

    def _look_over(self) -> None:
        """Read both ends: what was copied is at one of them at least, whole, and nothing else is anywhere."""
        for source, target in self._pairs:
            before = {slot: set(self._client.standing[slot]) for slot in (source, target)}
            for slot in (source, target):
                self._client.get(slot)
                if len(before[slot]) > 1:
                    self._client.versions[slot] = object()
            data = self._was[source]
            self._expect(
                {data} in (self._client.standing[source], self._client.standing[target]), f"{source.key} is nowhere"
            )

    def _is_taken(self, pair: tuple[Slot, Slot]) -> bool:
        return self._was[pair[1]] not in (None, self._was[pair[0]])

    def _expect(self, true: bool, otherwise: str) -> None:
        if not true:
            raise AssertionError(f"{self._body}: {otherwise}")


def _checkpoint(client: Client, kind: str) -> Iterator[str]:
    """What stands below a prefix is kept, read while other things come to its keys, perhaps restored, and let go."""
    bucket = client.dice.choice(sorted({slot.bucket for slot in client.slots if not slot.is_mounted}))
    slots = [slot for slot in client.slots if slot.bucket == bucket]
    if client.held & set(slots):
        return
    if not any(None not in client.standing[slot] for slot in slots):
        client.put(slots[0])
    kept = {slot: data for slot in slots if (data := _only(client.standing[slot])) is not None}
    versions = {slot: client.versions[slot] for slot in kept}
    name = f"c{client.number}-{uuid.uuid4().hex}"
    client.call("POST", "/checkpoints", {"name": name, "bucket": bucket, "prefix": _folder(slots[0])}, fine=(201,))
    client.kept[name] = kept
    yield "checkpoint"
    for document in _until(client, f"/checkpoints/{name}", lambda one: one["state"] != "pending"):
        if document["state"] == "failed" or document["members"] != len(kept):
            raise AssertionError(f"the checkpoint of {bucket} went wrong: {document}")
        yield ""
    read_members(client, name)
    for _ in range(client.dice.randrange(30)):  # Meanwhile the keys get other contents.
        yield ""
    if kind == "restore" or client.dice.random() < 0.4:
        while client.held & set(slots):
            yield ""
        with _held(client, slots):
            yield from _restore(client, name, slots, versions)
    read_members(client, name)
    if kind == "unpin" or len(client.kept) > _KEPT:
        client.call("DELETE", f"/checkpoints/{name}", fine=(202, 204, 404))
        del client.kept[name]
        yield "checkpoint let go"


def _restore(client: Client, name: str, slots: Sequence[Slot], versions: dict[Slot, object]) -> Iterator[str]:
    kept = client.kept[name]
    for slot in slots:
        now = client.standing[slot]
        # Where a member was renamed to, it is taken from.
        goes = slot not in kept and None not in now and client.versions[slot] in versions.values()
        client.standing[slot] = {*now, kept[slot]} if slot in kept else {*now, None} if goes else now
    client.call("POST", f"/checkpoints/{name}/restore", fine=(202,))
    for document in _until(client, f"/checkpoints/{name}", lambda one: one["restoring_since"] is None):
        assert document["state"] == "complete", document
        yield ""
    for slot in slots:
        if slot in kept:
            client.settle(slot, kept[slot], versions[slot])
        elif None in client.standing[slot]:
            client.settle(slot, None)
        client.get(slot)
    yield "checkpoint restored"


def read_members(client: Client, name: str) -> None:
    """Whatever stands at their keys now, the members of a checkpoint have the bytes that they had."""
    for slot, data in client.kept[name].items():
        body = {"bucket": slot.bucket, "key": slot.key}
        path = (
            "/a/"
            + client.call("POST", f"/checkpoints/{name}/aliases", body, fine=(201,)).json()["url"].partition("/a/")[2]
        )
        if client.read(path) != data:
            raise AssertionError(f"{slot} has wrong bytes in the checkpoint {name}")


def _until(client: Client, path: str, is_over: Any) -> Iterator[dict[str, Any]]:
    """What the API answers now and again; the last time when it is over. Raises AssertionError if it never is."""
    until, (wait_s, most_s) = time.monotonic() + _PATIENCE_S, _ASKS_AGAIN_S
    while True:
        document = client.call("GET", path, fine=(200,)).json()
        yield document
        if is_over(document):
            return
        if time.monotonic() > until:
            raise AssertionError(f"not within {_PATIENCE_S} s: {document}")
        again, wait_s = time.monotonic() + wait_s, min(2 * wait_s, most_s)
        while time.monotonic() < again:
            yield document


def _pairs(client: Client, source: str, target: str) -> list[tuple[Slot, Slot]]:
    """Keys of one bucket with those of the other, of which no errand holds any: one of each, or all of the folder."""
    ours, theirs = ([slot for slot in client.slots if slot.bucket == bucket] for bucket in (source, target))
    if client.dice.random() < 0.4 and not client.held & {*ours, *theirs}:
        assert len(ours) == KEYS_EACH
        return list(zip(ours, theirs, strict=True))
    free = [[slot for slot in slots if slot not in client.held] for slots in (ours, theirs)]
    return [(client.dice.choice(free[0]), client.dice.choice(free[1]))] if all(free) else []


@contextmanager
def _held(client: Client, slots: Sequence[Slot]) -> Iterator[None]:
    client.held.update(slots)
    try:
        yield
    finally:
        client.held.difference_update(slots)


def _folder(slot: Slot) -> str:
    return slot.key.rpartition("/")[0] + "/"


def _only(contents: set[bytes | None]) -> bytes | None:
    (content,) = contents
    return content
