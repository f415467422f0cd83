"""The byte-cut sweep: wherever a line is cut and whatever dies there, a wrapper gets through and nothing is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep import cases
from tests.sweep.cases import Case, Client, Fault, Form
from tests.sweep.runner import run
from tests.wire.desk import Desk

CHOSEN = cases.selection()


def of(fault: Fault, client: Client, form: Form) -> list[Case]:
    return [case for case in CHOSEN if (case.fault, case.client, case.form) == (fault, client, form)]


@pytest.mark.parametrize("form", list(Form))
def test_a_line_that_is_cut(desk: Desk, form: Form, tmp_path: Path) -> None:
    run(desk, of(Fault.LINE, Client.RAW, form), tmp_path)


@pytest.mark.parametrize("form", cases.CURL_FORMS)
def test_a_line_that_is_cut_under_curl(desk: Desk, form: Form, tmp_path: Path) -> None:
    run(desk, of(Fault.LINE, Client.CURL, form), tmp_path)
