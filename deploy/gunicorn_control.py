"""The control role: API and admin. Few threads, short answers."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from gunicorn_base import *  # noqa: F403  gunicorn reads a configuration's module names

workers = int(os.environ.get("WAYBILL_WORKERS") or "1")
threads = 8
keepalive = 15
timeout = 60
graceful_timeout = 30
