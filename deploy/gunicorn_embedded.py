"""Both roles in one process, as `make up` runs it: the data role's threads, and a stop that does not wait for long."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from gunicorn_data import *  # noqa: F403  gunicorn reads a configuration's module names

workers = 1
graceful_timeout = int(os.environ.get("WAYBILL_GRACEFUL_S") or "20")
