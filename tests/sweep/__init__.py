"""Broken transfers by the hundred, and histories of many wrappers at once: whatever breaks, no byte is ever wrong."""

import os

import pytest

for _name in ("checker", "runner", "wrapper"):
    pytest.register_assert_rewrite(f"tests.sweep.{_name}")

IS_POSTGRES = os.environ.get("DATABASE_URL", "").startswith("postgres")
on_postgres = pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no server that could crash")
#: For what the database has little to do with: by default once is enough.
once = pytest.mark.skipif(
    IS_POSTGRES and os.environ.get("SWEEP") != "full", reason="done in the run on SQLite; make sweep does it here too"
)
