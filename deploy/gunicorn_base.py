"""What both gunicorn roles have in common; see gunicorn_control.py, gunicorn_data.py and gunicorn_embedded.py."""

import ctypes
import os
import resource
import shutil
import tempfile

_host = os.environ.get("HOST") or "127.0.0.1"
bind = f"{f'[{_host}]' if ':' in _host else _host}:{os.environ.get('PORT') or '8080'}"
worker_class = "gateway.server.Worker"
workers = int(os.environ.get("WAYBILL_WORKERS") or "1")
# The access log would hold alias tokens; the gateway logs each request itself, without them.
accesslog = None
errorlog = "-"
loglevel = "warning"
logger_class = "gateway.server.ServerLogger"
# The heartbeat files of workers do not belong on a disk that may stall.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108  gunicorn makes the names
# A proxy on this machine says which scheme the client used.
forwarded_allow_ips = os.environ.get("WAYBILL_PROXY_ADDRESSES") or "127.0.0.1"
# Signed URLs and long keys fit; a header section without end does not.
limit_request_line = 8190
limit_request_fields = 64
# nginx quotes a whole request line in the header X-Original-URI.
limit_request_field_size = 8400
# Longer than a proxy keeps idle connections (deploy/nginx-upstreams.conf), so that it never uses a closed one.
keepalive = 15
# Seconds without a heartbeat of a worker's main thread; a stream of any length does not delay that.
timeout = 60
# gunicorn 27 would open a control socket below the home directory.
control_socket_disable = True

# glibc gives threads heaps of their own, and each would keep the chunks of the last transfer that its thread served.
_libc, _M_ARENA_MAX = ctypes.CDLL(None), -8
if hasattr(_libc, "mallopt"):
    _libc.mallopt(_M_ARENA_MAX, 1)

# A thread's connection, the file it sends and its connection to SQLite take five descriptors; 1024 is a usual limit.
_limit, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = 65536 if _most == resource.RLIM_INFINITY else min(65536, _most)
if _limit != resource.RLIM_INFINITY and _limit < _wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_wanted, _most))

if workers > 1:
    # Each process counts for itself; /metrics adds them up through files in this folder.
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="waybill-metrics-"))


def child_exit(server, worker):  # noqa: ARG001  gunicorn's hook
    """A worker that ended no longer counts in the gauges."""
    if workers > 1:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)


def on_exit(server):  # noqa: ARG001  gunicorn's hook
    """The counts end with the gateway."""
    if workers > 1:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
