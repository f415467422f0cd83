"""What both gunicorn roles have in common; see gunicorn_control.py, gunicorn_data.py and gunicorn_embedded.py."""

import os
import tempfile

bind = f"{os.environ.get('HOST') or '127.0.0.1'}:{os.environ.get('PORT') or '8080'}"
worker_class = "gthread"
# The access log would hold alias tokens; the gateway logs each request itself, without them.
accesslog = None
errorlog = "-"
loglevel = "warning"
# The heartbeat files of workers do not belong on a disk that may stall.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108
# A proxy on this machine says which scheme the client used.
forwarded_allow_ips = os.environ.get("WAYBILL_PROXY_ADDRESSES") or "127.0.0.1"
# Signed URLs and long keys fit; a header section without end does not.
limit_request_line = 8190
limit_request_fields = 64
# gunicorn 27 would open a control socket below the home directory.
control_socket_disable = True


def child_exit(server, worker):  # noqa: ARG001  gunicorn's hook
    """A worker that ended no longer counts in the gauges."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
