"""Broken transfers by the hundred, and histories of many wrappers at once: whatever breaks, no byte is ever wrong."""

import os

import pytest

on_postgres = pytest.mark.skipif(
    not os.environ.get("DATABASE_URL", "").startswith("postgres"), reason="SQLite has no server that could crash"
)
