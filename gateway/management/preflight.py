"""Preflight: what must be right before `manage.py up` starts anything; each fault is one sentence."""

import errno
import socket

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from kombu import Connection
from kombu.exceptions import KombuError

CONNECT_TIMEOUT_S = 5


def check() -> None:
    """Raises CommandError naming the setting that has to change."""
    check_port()
    check_database()
    check_broker()


def check_port() -> None:
    """Whether the gateway can listen where it is told to."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.HOST, settings.PORT))
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            remedy = "Is a gateway running already? Another port: make up PORT=9000" if taken else "Set HOST and PORT."
            raise CommandError(
                f"Port {settings.PORT} of {settings.HOST} cannot be used ({exc.strerror}). {remedy}"
            ) from exc


def check_database() -> None:
    """Whether a PostgreSQL lets us in. SQLite has no server; its file is opened by the migrations."""
    if not settings.DATABASE_URL.startswith("postgres"):
        return
    try:
        psycopg.connect(settings.DATABASE_URL, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as exc:
        raise CommandError(f"The database of DATABASE_URL does not let us in: {_first_line(exc)}") from exc


def check_broker() -> None:
    """Whether the broker answers; the embedded one always does."""
    if not settings.BROKER_URL:
        return
    try:
        with Connection(settings.BROKER_URL, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
    except (OSError, KombuError, KeyError, ValueError) as exc:
        raise CommandError(f"The broker of BROKER_URL does not answer: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    """The reason; what follows are hints that fit another world, or the same for every address tried."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0].strip()
