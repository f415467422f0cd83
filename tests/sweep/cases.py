"""The cases of the sweep: what is sent how, where and by what it is broken. Pure generation, every case has an id."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.servers.cutting_line import Anchor, Cut, Direction, How

SIZE = 200_001
#: What came of an upload before the part that a case breaks; so much a download has already.
BEGUN = 50_003
#: Around the edges of the gateway's first reads, and elsewhere.
MIDDLES = (65_535, 65_536, 65_537, 100_001, 131_072, 7, 149_000)
PIECE = 65_000


class Form(StrEnum):
    """How bytes are moved. ``stream``: chunked coding; ``summed``: the stream's digest is sent with it.

    ``tail``: what sends the stream again sends only what is left of it, as curl does when it is told to retry.
    """

    GET = "get"
    GET_RANGE = "get_range"
    PUT = "put"
    PUT_STREAM = "put_stream"
    PUT_SUMMED = "put_summed"
    PUT_TAIL = "put_tail"
    RESUME = "resume"
    PATCH = "patch"
    PATCH_STREAM = "patch_stream"

    @property
    def reads(self) -> bool:
        return self in (Form.GET, Form.GET_RANGE)

    @property
    def goes_on(self) -> bool:
        return self in (Form.GET_RANGE, Form.RESUME, Form.PATCH, Form.PATCH_STREAM)

    @property
    def chunked(self) -> bool:
        return self in (Form.PUT_STREAM, Form.PUT_SUMMED, Form.PUT_TAIL, Form.PATCH_STREAM)


class Fault(StrEnum):
    """What happens when the point is reached; the line alone, or what stands behind it."""

    LINE = "line"
    WORKER = "worker"
    GATEWAY = "gateway"
    STORAGE = "storage"
    DATABASE = "database"


class Client(StrEnum):
    RAW = "raw"
    CURL = "curl"


class At(StrEnum):
    """Where. ``published`` is after publish and before the reply, also where the line has said ``100 Continue``."""

    ZERO = "zero"
    ONE = "one"
    MIDDLE = "middle"
    LAST = "last"
    WHOLE = "whole"
    PUBLISHED = "published"


#: What either client does. curl does not speak the draft's PATCH, and only it goes on in the middle of a stream.
FORMS = {
    Client.RAW: [form for form in Form if form is not Form.PUT_TAIL],
    Client.CURL: [form for form in Form if form not in (Form.PATCH, Form.PATCH_STREAM)],
}
POINTS = [(Direction.REQUEST, at) for at in At if at is not At.PUBLISHED] + [(Direction.RESPONSE, at) for at in At]
#: A line that is held is one that stalls, so that the client gives up and its server does not notice; in miniature.
LINE_CUTS = {Client.RAW: list(How), Client.CURL: [how for how in How if how is not How.HOLD]}
STALL_S = 1.0
#: One of so many cases that cost a restart is run in CI.
ONE_OF = {Client.RAW: 3, Client.CURL: 7}


@dataclass(frozen=True)
class Case:
    """One combination. ``over``: an older version stands at the key, and is to be replaced."""

    fault: Fault
    client: Client
    form: Form
    direction: Direction
    at: At
    how: How
    middle: int = MIDDLES[0]
    over: bool = False

    @property
    def id(self) -> str:
        middle = f"@{self.middle}" if self.at is At.MIDDLE else ""
        words = [self.fault, self.client, self.form, self.direction, f"{self.at}{middle}", self.how]
        return "-".join([*words, "over"] if self.over else words)

    @property
    def body(self) -> bytes:
        """The bytes that are moved."""
        return random.Random(self.id).randbytes(self.size)

    @property
    def size(self) -> int:
        """Of a stream that is sent again from where it broke off, more than the line's buffers swallow."""
        return SIZE * 40 if self.form is Form.PUT_TAIL else SIZE

    @property
    def old(self) -> bytes:
        """The bytes that stood there before."""
        return random.Random(f"old {self.id}").randbytes(SIZE - 1 if len(self.id) % 2 else SIZE)

    @property
    def cut(self) -> Cut:
        return Cut(self.direction, *_place(self), self.how)


def framed(data: bytes) -> list[bytes]:
    """The pieces in which the raw client sends a stream."""
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


def every(more_middles: Iterable[int] = ()) -> list[Case]:
    """The whole product."""
    middles = (*MIDDLES, *more_middles)
    lines = (_product([Fault.LINE], client, LINE_CUTS[client], middles) for client in Client)
    behind = [fault for fault in Fault if fault is not Fault.LINE]
    held = (_product(behind, client, [How.HOLD], middles) for client in Client)
    return list(dict.fromkeys(itertools.chain(*lines, *held)))


def selection() -> list[Case]:
    """What CI runs: of everything that differs only by the middle, by what stood there, or for curl by the cut, one.

    Which one goes round, so that all values are met. Of the faults that cost a restart, as many as run at once.
    """
    by_kind: dict[object, list[Case]] = {}
    for case in every():
        kind = (case.fault, case.client, case.form, case.direction, case.at)
        by_kind.setdefault(kind if case.client is Client.CURL else (*kind, case.how), []).append(case)
    chosen = [alike[(5 * index) % len(alike)] for index, alike in enumerate(by_kind.values())]
    return [case for index, case in enumerate(chosen) if case.fault is Fault.LINE or index % ONE_OF[case.client] == 0]


def _product(faults: Iterable[Fault], client: Client, hows: Iterable[How], middles: Sequence[int]) -> Iterator[Case]:
    for fault, form, (direction, at), how in itertools.product(faults, FORMS[client], POINTS, hows):
        if form is Form.PUT_TAIL and fault is not Fault.LINE:
            continue  # A gateway that died before it saw the first attempt cannot tell; docs/http.md forbids --retry.
        has_middles = at is At.MIDDLE and form.reads == (direction is Direction.RESPONSE)
        overs = [False] if form.reads else [False, True]
        for middle, over in itertools.product(middles if has_middles else middles[:1], overs):
            yield Case(fault, client, form, direction, at, how, middle, over)


def _place(case: Case) -> tuple[Anchor, int]:
    """The cut's anchor and count. A direction that carries only a head has its middle and its end there."""
    if case.at is At.ZERO:
        return Anchor.WIRE, 0
    if case.at is At.ONE:
        return Anchor.WIRE, 1
    if case.at is At.PUBLISHED:
        return Anchor.HEAD, 0
    carries_file = case.form.reads == (case.direction is Direction.RESPONSE)
    if not carries_file and case.at is At.MIDDLE:
        return Anchor.HEAD, 20
    length = _body_length(case) if carries_file else _reply_length(case)
    return Anchor.BODY, {At.MIDDLE: case.middle, At.LAST: length - 1, At.WHOLE: length}[case.at]


def _body_length(case: Case) -> int:
    length = case.size - BEGUN if case.form.goes_on else case.size
    if case.form.chunked and case.client is Client.RAW:
        length += sum(len(b"%x\r\n\r\n" % len(piece)) for piece in framed(bytes(length))) + len(b"0\r\n\r\n")
    return length


def _reply_length(case: Case) -> int:
    if case.form.reads:
        return 0  # A GET's request ends with its head.
    return len(f"stored x: {case.size} bytes, sha256 {'0' * 64}\n")
