"""Whole deployments: what `make up`, the demo and the files of ``deploy/`` start, used from outside."""

import os

import pytest

#: For tests that start installations with databases of their own: once is enough.
own_database = pytest.mark.skipif(
    os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="starts an installation with a database of its own; done in the run on SQLite",
)
