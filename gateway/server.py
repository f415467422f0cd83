"""What the gateway changes in gunicorn: its log, how it stops and how long it waits; see deploy/gunicorn_base.py."""

import logging
import os
import socket
import struct
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker as BaseWorker
from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.cores import CORES
from gateway.logs import redact

if TYPE_CHECKING:
    from gateway.heart import Heart

#: How long a client may send nothing in the middle of a request's head or of a document for the API or the admin.
#: The bodies of aliases have ``CLIENT_STALL_S``.
REQUEST_STALL_S = 15


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

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """A client that stalled in the middle of a request is no crash of ours."""
        level = logging.DEBUG if isinstance(sys.exception(), BlockingIOError) else logging.ERROR
        self.error_log.log(level, msg, *args, exc_info=True, **kwargs)


class Worker(ThreadWorker):
    """gunicorn's threads; once told to stop it refuses new connections, and it waits for no client for ever.

    gunicorn itself waits without end for the rest of a request, so that some dozens of clients whose network is gone
    would take all threads; and when it stops it keeps new connections waiting, unanswered, until the last stream has
    ended. A client that is refused tries again (``curl --retry-connrefused``), and a proxy takes another gateway.
    """

    heart: "Heart | None" = None

    def init_process(self) -> None:
        """The workers of one gateway take the cores in turn."""
        CORES.settle(os.getppid() + self.age)
        super().init_process()

    def run(self) -> None:
        """With the notes of long downloads beside it, and the node's heartbeat where this gateway is one."""
        threading.Thread(target=_note_downloads, name="downloads", daemon=True).start()
        if not settings.NODE_NAME:
            super().run()
            return
        from gateway.heart import Heart  # Django is not set up yet when gunicorn loads this module.

        # gunicorn kills a worker that takes longer than it is given.
        self.heart = Heart(handover_s=max(0.0, min(settings.NODE_HANDOVER_S, self.cfg.graceful_timeout - 2)))
        self.heart.start()
        super().run()
        self.heart.leave()
        while self.heart.is_alive():
            self.notify()
            self.heart.join(0.5)

    def handle(self, conn: TConn) -> Any:
        """One request; what comes back is gunicorn's business."""
        seconds = min(REQUEST_STALL_S, settings.CLIENT_STALL_S)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
        return super().handle(conn)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._dismiss()
            for listener in self.sockets:
                listener.close()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End at once. ThreadWorker would shut its pool down here, whose lock the interrupted main thread may hold."""
        self._dismiss()
        BaseWorker.handle_quit(self, sig, frame)

    def _dismiss(self) -> None:
        """Readers that wait for data are told to come back; gunicorn would wait for their threads."""
        from staging import waiting  # Django is not set up yet when gunicorn loads this module.

        waiting.dismiss()
        if self.heart is not None:
            self.heart.leave()


def _note_downloads() -> NoReturn:
    from staging import beginnings  # Django is not set up yet when gunicorn loads this module.
    from staging.connections import release

    while True:
        time.sleep(beginnings.LONG.total_seconds())
        beginnings.note_what_lasts()
        release()
