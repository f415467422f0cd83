"""Prometheus metrics. No label ever holds a token, a key or a name that a job chooses."""

import os
from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("waybill_requests_total", "Requests answered.", ["plane", "method", "status"])
SECONDS = Histogram(
    "waybill_request_seconds",
    "Seconds from a request's arrival to its answer's header.",
    ["plane"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600),
)
BYTES = Counter("waybill_body_bytes_total", "Bytes of objects moved between clients and the gateway.", ["direction"])
STREAMS = Gauge("waybill_streams", "Streams that run at the moment.", multiprocess_mode="livesum")
WAITERS = Gauge(
    "waybill_waiters", "Readers that wait at the moment for an object to come.", multiprocess_mode="livesum"
)
WAITS = Counter("waybill_waits_total", "Waits for an object that have ended.", ["outcome"])
STORAGE_SECONDS = Histogram(
    "waybill_storage_call_seconds", "Seconds of each call to a storage.", ["storage", "operation", "outcome"]
)
STORAGE_FAILING = Gauge(
    "waybill_storage_failing",
    "Processes that leave the storage alone at the moment.",
    ["storage"],
    multiprocess_mode="livesum",
)
CACHE_READS = Counter(
    "waybill_cache_reads_total", "Blocks that readers came to where a policy caches, by how they got them.", ["outcome"]
)
CACHE_FILLED = Counter("waybill_cache_filled_bytes_total", "Bytes of blocks brought to fast storages for readers.")

NODE_STATE = Gauge(
    "waybill_node_state",
    "1 for the state that the node is in, as this node last heard of it.",
    ["node", "state"],
    multiprocess_mode="mostrecent",
)
NODE_HEARD = Gauge(
    "waybill_node_heartbeat_timestamp_seconds",
    "When the node said last that it is there.",
    ["node"],
    multiprocess_mode="mostrecent",
)


def observe_node(name: str, state: str, seen_at: float, states: Iterable[str]) -> None:
    """What this gateway's heart has heard of a node."""
    for one in states:
        NODE_STATE.labels(name, one).set(one == state)
    NODE_HEARD.labels(name).set(seen_at)


def observe_storage(storage: str, operation: str, seconds: float, outcome: str) -> None:
    """The hook of ``adapters.guard``."""
    STORAGE_SECONDS.labels(storage, operation, outcome).observe(seconds)


def observe_failing(storage: str, failing: bool) -> None:
    """The hook of ``staging.health``."""
    STORAGE_FAILING.labels(storage).inc(1 if failing else -1)


def observe_cache_read(outcome: str) -> None:
    """The hook of ``staging.read_cache``."""
    CACHE_READS.labels(outcome).inc()


def observe_cache_filled(count: int) -> None:
    """The hook of ``staging.filling``."""
    CACHE_FILLED.inc(count)


def export(_request: HttpRequest) -> HttpResponse:
    """``/metrics``: of all processes of this gateway where several share PROMETHEUS_MULTIPROC_DIR."""
    registry = PROCESS_REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
