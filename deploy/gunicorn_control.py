"""The control role: API and admin. Few threads, short answers."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from gunicorn_base import *  # noqa: F403  gunicorn reads a configuration's module names

threads = 8
graceful_timeout = 30
