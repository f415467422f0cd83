"""Celery, thin: tasks that load by id and call one service."""

from workers.app import app

__all__ = ["app"]
