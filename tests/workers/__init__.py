"""Tests of the Celery side, which mirrors ``workers/``."""
