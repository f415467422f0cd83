"""Benchmarks against what a gateway's storages can do without it; `python -m tests.bench --help`."""
