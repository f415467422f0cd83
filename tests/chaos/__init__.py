"""Chaos: an installation at work whose processes are killed by the hundred, and whose servers and storages fail."""
