"""The data role: aliases. Many threads, no limit on requests, and streams in flight may finish before a stop."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from gunicorn_base import *  # noqa: F403  gunicorn reads a configuration's module names

threads = int(os.environ.get("WAYBILL_THREADS") or "256")
worker_connections = threads * 8
graceful_timeout = int(os.environ.get("WAYBILL_GRACEFUL_S") or "3600")
