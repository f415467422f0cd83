"""What the gateway changes in gunicorn's worker, as far as no signal has to be sent for it."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from gateway.server import Worker
from staging import waiting


@pytest.mark.timeout(10)
def test_a_worker_that_is_told_to_end_while_it_hands_out_a_request_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal interrupts the very thread that holds the lock of the pool."""
    monkeypatch.setattr(waiting, "dismiss", lambda: None)
    worker = Worker.__new__(Worker)
    worker.cfg = SimpleNamespace(worker_int=lambda _: None)
    with ThreadPoolExecutor(1) as worker.tpool, worker.tpool._shutdown_lock, pytest.raises(SystemExit):
        worker.handle_quit(3, None)
    assert not worker.alive
