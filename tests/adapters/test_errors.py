"""Every error says where it happened and what it was."""

from __future__ import annotations

import pytest

from adapters import errors
from adapters.errors import AdapterError, TransientAdapterError

CLASSES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AdapterError)
]  # In the order in which they are written.
TRANSIENT = {"TransientAdapterError", "Unavailable", "Offline", "TimedOut", "Truncated", "NotTried", "Busy", "Failing"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_prints_storage_key_summary_and_detail(kind: type[AdapterError]) -> None:
    assert str(kind("the disk hums", storage="archive", key="run 1/a")) == (
        f"storage archive, key 'run 1/a': {kind.summary} (the disk hums)"
    )
    assert str(kind(storage="archive")) == f"storage archive: {kind.summary}"
    assert "(unnamed)" in str(kind())


def test_exactly_the_faults_that_may_pass_are_transient() -> None:
    assert {kind.__name__ for kind in CLASSES if kind.transient} == TRANSIENT
    assert {kind.__name__ for kind in CLASSES if issubclass(kind, TransientAdapterError)} == TRANSIENT


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in CLASSES if kind is not TransientAdapterError]
    assert len(set(codes)) == len(codes)
