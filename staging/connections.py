"""Letting go of the database while bytes move."""

from django.db import connection


def release() -> None:
    """Give this thread's connection back to the pool; the next query takes one again.

    An idle SQLite connection holds no lock and is kept. Raises RuntimeError inside a transaction, where no byte moves.
    """
    if connection.in_atomic_block:
        raise RuntimeError("bytes must not move inside a transaction")
    if connection.vendor != "sqlite":
        connection.close()
