"""What the gateway changes in gunicorn: its log and how it stops. Named in deploy/gunicorn_base.py."""

import logging

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from gateway.logs import redact


class RedactedLines(logging.Formatter):
    """Plain lines without tokens."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class ServerLogger(Logger):
    """gunicorn's own log, which quotes requests that it cannot understand."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(RedactedLines(self.error_fmt, self.datefmt))


class Worker(ThreadWorker):
    """gunicorn's threads; once told to stop it refuses new connections.

    gunicorn itself would keep them waiting, unanswered, until the last stream has ended. A client that is refused
    tries again (``curl --retry-connrefused``), and a proxy takes another gateway.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()
