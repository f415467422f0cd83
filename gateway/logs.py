"""Structured logs: an event and its fields, a request's id on every line, and never a token."""

import logging
import os
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

_TOKEN_IN_PATH = re.compile(r"(/a/)[^/\s\"'?]+")


def redact(line: str) -> str:
    """The line with the token of every alias URL in it taken out."""
    return _TOKEN_IN_PATH.sub(r"\1<token>", line)


class RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders foreign and own records alike, and takes tokens out last, so that tracebacks are covered too."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class StderrLines(logging.Handler):
    """Each record is one write to standard error, without a lock: threads that serve small files would queue for it."""

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(2, f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001  as logging's own handlers do: a log line never breaks a request
            self.handleError(record)


class OnlyCrashes(logging.Filter):
    """Django logs every answer from 400 on; ours are logged already, so only tracebacks are let through."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is not None


def _drop_color_message(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("color_message", None)
    return event


SHARED = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def formatter(style: str) -> logging.Formatter:
    """The formatter of every handler: ``json`` for machines, ``text`` (key=value) for people."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    return RedactingFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _drop_color_message,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
