"""The control role: API and admin. Few threads, short answers."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from gunicorn_base import *  # noqa: F403  gunicorn reads a configuration's module names

threads = 8
# Aliases are the data role's business; whoever asks for one here all the same is not held.
os.environ["WAYBILL_MAX_WAITERS"] = "0"
graceful_timeout = 30
