"""The byte-cut sweep: wherever a line is cut and whatever dies there, a wrapper gets through and nothing is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.cutting_line import Direction, How
from tests.servers.faulty import Faults
from tests.servers.postgres import Postgres
from tests.servers.sshd import Sshd
from tests.sweep import IS_POSTGRES, cases, extent, on_postgres, once
from tests.sweep.cases import At, Case, Client, Fault, Form
from tests.sweep.runner import Outage, run
from tests.system.test_crashes import kill_worker
from tests.wire.desk import Desk

CHOSEN = extent.chosen()


def of(fault: Fault, client: Client | None = None, form: Form | None = None) -> list[Case]:
    return [c for c in CHOSEN if c.fault == fault and client in (None, c.client) and form in (None, c.form)]


def some(found: list[Case]) -> list[Case]:
    """All of them on SQLite, half of them on PostgreSQL, where other faults cost more."""
    return found[::2] if IS_POSTGRES and not extent.IS_FULL else found


def few(found: list[Case]) -> list[Case]:
    """One of five, another one for each seed: the line is the same, what stands behind it is another."""
    return found if extent.IS_FULL else found[extent.SEED % 5 :: 5]


def test_the_selection_is_a_part_of_the_whole_and_has_all_there_is() -> None:
    whole, chosen = cases.every(), cases.selection()
    assert len({case.id for case in whole}) == len(whole)
    assert set(chosen) <= set(whole)
    assert len(set(chosen)) >= 450
    for kind in ("fault", "client", "form", "direction", "at", "how", "middle", "over"):
        assert {getattr(case, kind) for case in chosen} == {getattr(case, kind) for case in whole}


@pytest.mark.parametrize("form", cases.FORMS[Client.RAW])
def test_a_line_that_is_cut(desk: Desk, form: Form, tmp_path: Path) -> None:
    run(desk, some(of(Fault.LINE, Client.RAW, form)), tmp_path)


@once
@pytest.mark.parametrize("form", cases.FORMS[Client.CURL])
def test_a_line_that_is_cut_under_curl(desk: Desk, form: Form, tmp_path: Path) -> None:
    run(desk, of(Fault.LINE, Client.CURL, form), tmp_path)


@once
def test_a_line_that_is_cut_before_a_mounted_folder(desk: Desk, tmp_path: Path) -> None:
    run(replace(desk, mounted=True), few(of(Fault.LINE, Client.RAW)), tmp_path)


@once
def test_a_line_that_is_cut_before_s3(s3_desk: Desk, tmp_path: Path) -> None:
    run(s3_desk, few(of(Fault.LINE, Client.RAW)), tmp_path)


@once
def test_a_line_that_is_cut_before_a_mounted_s3_bucket(s3_desk: Desk, tmp_path: Path) -> None:
    whole = [case for case in of(Fault.LINE, Client.RAW) if case.form.reads or not case.form.goes_on]
    run(replace(s3_desk, mounted=True), few(whole), tmp_path)


@once
def test_a_worker_that_is_killed(own_gateway: Desk, tmp_path: Path) -> None:
    outage = Outage(lambda: kill_worker(own_gateway.gateway), lambda: None)
    run(own_gateway, of(Fault.WORKER), tmp_path, outage=outage)


def test_a_gateway_that_is_killed(own_gateway: Desk, tmp_path: Path) -> None:
    outage = Outage(own_gateway.gateway.kill, own_gateway.gateway.start)
    run(own_gateway, of(Fault.GATEWAY), tmp_path, outage=outage)


@once
def test_a_storage_that_is_killed(sftp_desk: Desk, sshd: Sshd, tmp_path: Path) -> None:
    run(sftp_desk, of(Fault.STORAGE), tmp_path, outage=Outage(sshd.kill, sshd.start), at_once=15)


@once
@pytest.mark.parametrize("step", ["publish", "published"] if extent.IS_FULL else ["published"])
def test_a_worker_that_is_killed_before_the_catalog_knows(
    own_faulty_gateway: Desk, faults: Faults, step: str, tmp_path: Path
) -> None:
    desk, forms = own_faulty_gateway, [form for form in cases.FORMS[Client.RAW] if not form.reads]
    held = [Case(Fault.WORKER, Client.RAW, form, Direction.RESPONSE, At.PUBLISHED, How.HOLD) for form in forms]

    def have_all_come() -> bool:
        files = [desk.place.root / name for name in desk.place.files()]
        is_named = step == "publish" or not any(file.suffix == ".partial" for file in files)
        return is_named and [file.stat().st_size for file in files] == [cases.SIZE] * len(held) and faults.is_held(step)

    outage = Outage(lambda: kill_worker(desk.gateway), faults.heal)
    run(desk, held, tmp_path, outage=outage, is_time=have_all_come, begin=lambda: faults.hold(step))


@on_postgres
def test_a_database_that_crashes(own_database: tuple[Postgres, Desk], tmp_path: Path) -> None:
    server, desk = own_database
    run(desk, of(Fault.DATABASE), tmp_path, outage=Outage(server.crash, server.serve))
