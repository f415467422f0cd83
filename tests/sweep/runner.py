"""Runs cases side by side against one gateway: each through a line of its own, then the fault, then the checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

from staging.models import Upload
from tests.servers.cutting_line import CuttingLine, Direction, How
from tests.servers.process import ServerFailed, wait_until
from tests.sweep import checker, extent
from tests.sweep.cases import BEGUN, STALL_S, At, Case, Client, Fault, Form
from tests.sweep.wrapper import Errand, GaveUp, wrapper_for
from tests.wire.desk import REPLACE, Desk
from tests.wire.line import Line, LineCut

#: So many cases run at a time; a gateway has 48 streams.
SIDE_BY_SIDE = 40


#: A request that is cut here fails whatever happens.
WITHIN = (At.ZERO, At.ONE, At.MIDDLE)


@dataclass(frozen=True)
class Outage:
    """How something that transfers need goes away, and how it comes back."""

    down: Callable[[], None]
    up: Callable[[], object]


@dataclass
class Run:
    """One case under way."""

    case: Case
    desk: Desk
    line: CuttingLine
    errand: Errand
    read_path: str
    partial: list[str] = field(default_factory=list)
    gave_up: bool = False

    @property
    def key(self) -> str:
        return key_of(self.case)

    def go(self) -> None:
        """Let the wrapper do its work; what a download brought is checked here."""
        try:
            got = wrapper_for(self.case.client)(self.errand)
        except GaveUp:
            self.gave_up = True
        else:
            assert got is None or got == self.case.body, f"exit 0 with wrong bytes: {len(got)} of them"
        finally:
            self.line.let_go()

    def check(self) -> None:
        """What must hold afterwards."""
        case = self.case
        assert not self.partial, self.partial
        assert self.line.reached.is_set(), "the line never came to its cut"
        if case.fault is Fault.LINE and case.direction is Direction.REQUEST and case.at in WITHIN:
            assert len(self.errand.told) + self.gave_up > (case.client is Client.RAW), "the cut was not felt"
        old = [case.old] if case.over else []
        if case.form.reads:
            checker.check_stored(self.desk, self.key, [case.body])
            return
        if self.gave_up:
            assert case.form in (Form.PUT_STREAM, Form.PUT_TAIL), "only a stream cannot be sent again"
            stands = self.desk.ask("GET", f"{self.read_path}?wait=0")
            if stands.status != 200 or stands.body != case.body:
                checker.check_stored(self.desk, self.key, old)
                return
        checker.check_stored(self.desk, self.key, [*old, case.body])
        checker.check_told(self.desk, self.errand.path, case.body)


def key_of(case: Case) -> str:
    return f"sweep/{case.id}/x"


def run(
    desk: Desk,
    cases: Sequence[Case],
    folder: Path,
    *,
    outage: Outage | None = None,
    at_once: int = SIDE_BY_SIDE,
    begin: Callable[[], None] = lambda: None,
    is_time: Callable[[], bool] = lambda: False,
) -> None:
    """Run the cases, let the outage come once each is at its point or ``is_time`` says so, and check everything.

    ``begin`` is called when all has been prepared.

    Raises AssertionError naming every case that failed.
    """
    for portion in extent.portions(cases, at_once):
        with ExitStack() as lines:
            runs = [_prepare(desk, case, folder, lines) for case in portion]
            begin()
            failed = _run(runs, outage, is_time)
        _connect_anew()
        _settle(desk, is_struck=outage is not None)
        for run in runs:
            if run.case.id not in failed:
                with _noting(failed, run):
                    run.check()
        assert not failed, "\n".join(f"{case}: {why}" for case, why in failed.items())
        checker.check_bytes(desk.place)
        desk.assert_nothing_is_left()


def _prepare(desk: Desk, case: Case, folder: Path, lines: ExitStack) -> Run:
    key = key_of(case)
    before = case.body if case.form.reads else case.old if case.over else None
    if before is not None:
        desk.stored(before, key)
    path, read_path = (desk.write(key, on_exists=REPLACE) if case.over else desk.write(key)), desk.read(key)
    if case.form.goes_on and not case.form.reads:
        _begin(desk, case, path)
    line = lines.enter_context(CuttingLine(desk.port))
    own = folder / case.id
    own.mkdir(parents=True)
    run = Run(case, desk, line, _errand(case, line, read_path if case.form.reads else path, own), read_path)
    run.errand.after_failure = lambda: _look(run)
    return run


def _errand(case: Case, line: CuttingLine, path: str, folder: Path) -> Errand:
    armed = threading.Event()

    def arm() -> None:
        if not armed.is_set():
            armed.set()
            line.arm(case.cut)

    stall_s = STALL_S if case.fault is Fault.LINE and case.how is How.HOLD else 20
    return Errand(case.form, line.port, path, case.body, folder, arm, lambda: None, stall_s=stall_s)


def _begin(desk: Desk, case: Case, path: str) -> None:
    """The first bytes of the upload, which is broken off then, or ended as the draft has it."""
    if case.form is not Form.RESUME:
        begun = desk.ask("POST", path, {"Upload-Complete": "?0"}, body=case.body[:BEGUN])
        assert (begun.status, begun["Upload-Offset"]) == (201, str(BEGUN))
        return
    with desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(case.body))})
        line.send(case.body[:BEGUN])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    assert desk.ask("HEAD", path)["Upload-Offset"] == str(BEGUN)


def _look(run: Run) -> None:
    """What is visible at this moment, past the line: the old version or the new one, whole, or nothing."""
    with suppress(LineCut, OSError), Line(run.desk.port) as line:
        seen = line.ask("GET", f"{run.read_path}?wait=0")
        whole = [run.case.body] + ([run.case.old] if run.case.over else [])
        if seen.status == 200 and seen.body not in whole:
            run.partial.append(f"{len(seen.body)} bytes were visible that are no version")
        if seen.status == 503 and seen.code == "data_pending" and (run.case.over or run.case.form.reads):
            run.partial.append("a committed version was not to be seen")


def _run(runs: list[Run], outage: Outage | None, is_time: Callable[[], bool]) -> dict[str, str]:
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(len(runs) if outage else 16) as pool:
        under_way = {pool.submit(run.go): run for run in runs}
        if outage is not None:
            try:
                wait_until(
                    lambda: is_time() or all(_has_come(done, run) for done, run in under_way.items()),
                    what="all transfers are at their points",
                )
                _strike(outage, runs)
            finally:
                for run in runs:
                    run.line.let_go()
    for done, run in under_way.items():
        with _noting(failed, run):
            done.result()
    return failed


def _strike(outage: Outage, runs: list[Run]) -> None:
    """What was held goes on while what it needs is away."""
    outage.down()
    try:
        for run in runs:
            run.line.let_go()
        with suppress(ServerFailed):
            wait_until(lambda: any(run.errand.told for run in runs), what="the outage is felt", timeout_s=1)
    finally:
        outage.up()


def _has_come(done: Future[None], run: Run) -> bool:
    return run.line.reached.is_set() or done.done()


def _connect_anew() -> None:
    """The test's own connections may have ended with the server."""
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()


def _settle(desk: Desk, *, is_struck: bool) -> None:
    """The gateway cleans up by itself behind a line that was cut; behind a crash the janitor does."""
    if not is_struck:
        running = Upload.objects.filter(suspended_at=None)
        wait_until(lambda: not running.exists(), what="the gateway has cleaned up")
        desk.place.give_up_what_waits()
        return
    desk.place.sweep()


class _noting:
    """A block whose failed assertion is noted as the case's."""

    def __init__(self, failed: dict[str, str], run: Run) -> None:
        self._failed, self._run = failed, run

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._failed[self._run.case.id] = f"{type(error).__name__}: {error} (told: {self._run.errand.told[-8:]})"
        return True
