"""The judge of histories passes good ones and catches each kind of lie, on histories that are made up."""

from __future__ import annotations

import pytest

from tests.sweep.history import Download, Upload, violations

A, B, LOST = Upload("k", "a", 0, 1), Upload("k", "b", 2, 3), Upload("k", "c", 2, None)


@pytest.mark.parametrize(
    ("uploads", "downloads", "order"),
    [
        ([], [Download("k", None, 0, 1)], []),
        ([A, B], [Download("k", None, -1, 0.5), Download("k", "a", 1.5, 1.6), Download("k", "b", 4, 5)], ["a", "b"]),
        ([A, B], [Download("k", "b", 2.1, 2.2), Download("k", "a", 0.5, 2.5)], ["a", "b"]),
        ([A, LOST], [], ["a"]),
        ([A, LOST], [Download("k", "c", 9, 10)], ["a", "c"]),
        ([A, Upload("k", "d", 0.5, 0.9)], [], ["d", "a"]),
        ([A, B, Upload("k", "c", 0, 9)], [Download("k", "c", 4, 5)], ["c", "a", "b", "c"]),
    ],
    ids=["nothing", "in order", "at once", "unanswered and gone", "unanswered and there", "either order", "repeated"],
)
def test_a_history_that_can_have_happened_passes(
    uploads: list[Upload], downloads: list[Download], order: list[str]
) -> None:
    assert violations(uploads, downloads, {"k": order}) == []


@pytest.mark.parametrize(
    ("uploads", "downloads", "order", "word"),
    [
        ([A, B], [], ["a"], "lost"),
        ([A], [], [], "lost"),
        ([A, B], [], ["b", "a"], "is older"),
        ([A], [], ["a", "x"], "no body that was uploaded"),
        ([A, B], [Download("k", "half a, half b", 2, 4)], ["a", "b"], "no body that was uploaded"),
        ([LOST], [Download("k", "the first bytes of c", 3, 4)], ["c"], "no body that was uploaded"),
        ([A, LOST], [Download("k", "c", 3, 4)], ["a"], "is no version"),
        ([A, B], [Download("k", "a", 3.5, 4)], ["a", "b"], "had taken its place"),
        ([A, LOST], [Download("k", "c", 3, 4), Download("k", "a", 5, 6)], ["a", "c"], "had taken its place"),
        ([A], [Download("k", None, 2, 3)], ["a"], "was there"),
        ([LOST], [Download("k", "c", 3, 4), Download("k", None, 5, 6)], ["c"], "was there"),
        ([A, B], [Download("k", "b", 1.1, 1.2)], ["a", "b"], "before its upload began"),
    ],
    ids=[
        *["lost write", "lost only write", "order of writes", "version of nobody", "mixed read", "partial visible"],
        *["read of no version", "stale read", "reads go back", "gone", "seen and gone", "read of the future"],
    ],
)
def test_a_history_that_cannot_have_happened_is_caught(
    uploads: list[Upload], downloads: list[Download], order: list[str], word: str
) -> None:
    (found,) = violations(uploads, downloads, {"k": order})
    assert word in found


def test_keys_have_nothing_to_do_with_each_other() -> None:
    other = Upload("l", "z", 5, 6)
    assert violations([A, other], [Download("l", None, 2, 3)], {"k": ["a"], "l": ["z"]}) == []
