"""The tables of the test database: one process of a run has them made by `migrate`, the others copy what it made."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db import connection


@dataclass
class Tables:
    """``folder`` is that of all processes of the run. ``take`` comes before the database is set up, ``give`` after."""

    folder: Path
    _lock: IO[str] | None = None

    def take(self) -> None:
        """Copy the tables where they are made; else nobody else goes on before they were given."""
        lock = (self.folder / "tables.lock").open("a+")
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if template := lock.read():
            lock.close()
            connection.settings_dict["TEST"]["MIGRATE"] = False
            if connection.vendor == "sqlite":
                connection.creation._create_test_db = lambda *_, **__: shutil.copyfile(template, _name())
            else:
                connection.settings_dict["TEST"]["TEMPLATE"] = template
        else:
            self._lock = lock

    def give(self) -> None:
        """Let the others copy the tables, if they were made here."""
        if self._lock is None:
            return
        if connection.vendor == "sqlite":
            template = str(self.folder / "tables.sqlite3")
            with connection.cursor() as cursor:
                cursor.execute("VACUUM INTO %s", [template])
        else:
            connection.creation.clone_test_db("tables", verbosity=0)
            template = connection.creation.get_test_db_clone_settings("tables")["NAME"]
        self._lock.write(template)
        self._lock.close()


def is_shared() -> bool:
    """Whether several processes run the tests."""
    return "PYTEST_XDIST_WORKER" in os.environ


def _name() -> str:
    return str(connection.creation._get_test_db_name())
