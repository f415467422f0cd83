"""The gateway's WSGI application in a process that knows the faulty kind of storage."""

from gateway.wsgi import application
from tests.servers import faulty

faulty.install()

__all__ = ["application"]
