"""Log lines: structured, and without tokens wherever one may turn up."""

import json
import logging
import sys

import pytest

from gateway import logs
from gateway.server import RedactedLines

TOKEN = "A" * 31 + "-"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"GET /a/{TOKEN}/x.bin", "GET /a/<token>/x.bin"),
        (f"http://h/a/{TOKEN}", "http://h/a/<token>"),
        (f"'/a/{TOKEN}' \"/a/{TOKEN}?x=1\"", "'/a/<token>' \"/a/<token>?x=1\""),
        ("nothing /b/here", "nothing /b/here"),
    ],
)
def test_tokens_are_taken_out(line: str, kept: str) -> None:
    assert logs.redact(line) == kept


def record_with_traceback() -> logging.LogRecord:
    try:
        raise ValueError(f"/a/{TOKEN}/x.bin")
    except ValueError:
        return logging.LogRecord("somewhere", logging.ERROR, __file__, 1, "at /a/%s/x", (TOKEN,), sys.exc_info())


@pytest.mark.parametrize("style", ["json", "text"])
def test_tracebacks_and_arguments_are_covered_in_every_format(style: str) -> None:
    line = logs.formatter(style).format(record_with_traceback())
    assert TOKEN not in line
    assert "ValueError" in line
    assert "<token>" in line
    assert "somewhere" in line
    if style == "json":
        assert json.loads(line)["level"] == "error"


def test_the_servers_own_lines_are_covered() -> None:
    assert TOKEN not in RedactedLines("%(message)s").format(record_with_traceback())


def test_answers_are_logged_once_and_crashes_with_their_traceback() -> None:
    assert logs.OnlyCrashes().filter(record_with_traceback())
    assert not logs.OnlyCrashes().filter(logging.LogRecord("x", logging.WARNING, __file__, 1, "Not Found", (), None))
