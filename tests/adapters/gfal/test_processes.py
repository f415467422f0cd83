"""The processes that gfal2 runs in: whatever befalls them is one failed call, and the next one gets another process."""
# ruff: noqa: PT012 - the block under test is the reading or writing and the leaving of it

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from adapters.base import Adapter
from adapters.errors import AdapterError, Busy, TimedOut, Unavailable, VersionChanged
from adapters.gfal_client import GfalProcess
from adapters.gfal_library import GfalError
from adapters.gfal_pool import GfalPool
from adapters.testkit import AdapterContract
from tests.adapters.gfal.storages import assert_works, build, inner, settings_of
from tests.servers.gridftp import GridFtp
from tests.servers.process import wait_until

#: Enough to be one transfer, and more than what lies in buffers on its way.
LARGE = AdapterContract.content(20 * 1024 * 1024)


@pytest.fixture
def adapter(gridftp: GridFtp) -> Iterator[Adapter]:
    adapter = build(settings_of(gridftp, stall_timeout_s=5, connect_timeout_s=10))
    yield adapter
    adapter.close()
    assert adapter.leaks == 0  # type: ignore[attr-defined]


@pytest.fixture
def large(adapter: Adapter) -> Iterator[str]:
    AdapterContract.store(adapter, "large", LARGE)
    yield "large"
    adapter.delete("large")


def process_of(stream: object) -> GfalProcess:
    """The process of a guarded stream or session."""
    return stream._inner._process  # type: ignore[attr-defined,no-any-return]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_process_killed_in_a_read_is_a_transient_error_and_replaced(adapter: Adapter, large: str) -> None:
    with pytest.raises(Unavailable, match="ended by SIGKILL"), adapter.open_read(large) as stream:
        read = stream.read()
        assert LARGE.startswith(read)
        os.kill(process_of(stream).pid, signal.SIGKILL)
        while stream.read():
            pass
    assert AdapterContract.fetch(adapter, large) == LARGE


def test_process_that_aborts_in_a_write_leaves_nothing(adapter: Adapter) -> None:
    with pytest.raises(Unavailable, match="ended by SIGABRT"), adapter.open_write("object", size=len(LARGE)) as session:
        session.write(LARGE[: 1024 * 1024])
        os.kill(process_of(session).pid, signal.SIGABRT)
        session.write(LARGE[1024 * 1024 :])
    assert list(adapter.scan("object")) == []
    assert adapter.unfinished_writes("object") == []
    assert_works(adapter)


def test_process_killed_before_publish_publishes_nothing(adapter: Adapter) -> None:
    with pytest.raises(Unavailable), adapter.open_write("object", size=4) as session:
        session.write(b"data")
        os.kill(process_of(session).pid, signal.SIGKILL)
        session.publish()
    assert list(adapter.scan("object")) == []
    assert adapter.unfinished_writes("object") == []


@pytest.mark.parametrize("order", ["read", "stat"])
def test_process_that_hangs_is_killed_in_time_and_replaced(adapter: Adapter, large: str, order: str) -> None:
    with adapter.open_read(large) as stream:
        process = process_of(stream)
        if order == "read":
            stream.read()
        os.kill(process.pid, signal.SIGSTOP)
        if order == "stat":
            stream.close()  # Nothing was read yet, so the process is kept for the next call.
        with pytest.raises(TimedOut, match="within 5 s"):
            stream.read() if order == "read" else adapter.stat(large)
    assert is_gone(process.pid)
    assert adapter.stat(large).size == len(LARGE)


def test_process_whose_transfer_failed_is_not_used_again(adapter: Adapter, gridftp: GridFtp) -> None:
    (gridftp.root / "removed").write_bytes(LARGE[: 9 * 1024 * 1024])
    with pytest.raises(VersionChanged), adapter.open_read("removed") as stream:
        process = process_of(stream)
        stream.read()
        (gridftp.root / "removed").unlink()
        while stream.read():
            pass
    assert is_gone(process.pid), "Globus may not have ended the transfer on its session yet"
    assert_works(adapter)


@pytest.mark.parametrize(("is_there", "kind"), [(True, Unavailable), (False, VersionChanged)])
def test_transfer_that_broke_without_a_reason_is_looked_into(
    adapter: Adapter, gridftp: GridFtp, monkeypatch: pytest.MonkeyPatch, is_there: bool, kind: type[AdapterError]
) -> None:
    (gridftp.root / "broken").write_bytes(b"data")
    with pytest.raises(kind), adapter.open_read("broken") as stream:
        if not is_there:
            (gridftp.root / "broken").unlink()
        process = process_of(stream)
        lost = GfalError(errno.ECOMM, "globus_ftp_client: GLOBUS_FTP_CLIENT_IDLE not allowed here")
        monkeypatch.setattr(process, "ask", Mock(side_effect=[({}, b""), lost, ({}, b"")]))
        stream.read()
    process.close()
    (gridftp.root / "broken").unlink(missing_ok=True)


def test_process_that_is_said_to_go_on_is_waited_for(adapter: Adapter, large: str) -> None:
    pool = inner(adapter)._pool
    process = pool.take()
    os.kill(process.pid, signal.SIGSTOP)
    asked = []

    def goes_on() -> bool:
        asked.append(True)
        if len(asked) == 2:
            os.kill(process.pid, signal.SIGCONT)
        return True

    url = inner(adapter).endpoint.url(large)
    assert process.ask("stat", url=url, limit_s=2, goes_on=goes_on)[0]["look"][1] == len(LARGE)
    assert len(asked) == 2
    pool.give_back(process)


def test_copy_under_way_is_watched_beside_a_full_pool(gridftp: GridFtp) -> None:
    with closing(build(settings_of(gridftp, max_processes=1))) as adapter, adapter.open_write("held", size=None):
        (gridftp.root / "grows").write_bytes(b"12345")
        assert inner(adapter)._size("grows") == 5  # type: ignore[attr-defined]
        assert inner(adapter)._size("missing") == 0  # type: ignore[attr-defined]
    (gridftp.root / "grows").unlink()


def test_idle_process_that_died_is_not_handed_out(adapter: Adapter) -> None:
    assert_works(adapter)
    for process in inner(adapter)._pool._idle:
        os.kill(process.pid, signal.SIGKILL)
        process._popen.wait()
    assert_works(adapter)


def test_no_more_processes_run_than_are_allowed(gridftp: GridFtp) -> None:
    with closing(build(settings_of(gridftp, max_processes=1, connect_timeout_s=10))) as adapter:
        with adapter.open_write("object", size=0), pytest.raises(Busy, match=r"max_processes.* in use for 10 s"):
            adapter.stat("other")
        assert_works(adapter)


def test_process_that_stays_idle_is_ended(gridftp: GridFtp) -> None:
    with closing(build(settings_of(gridftp))) as adapter:
        pool = GfalPool(inner(adapter).endpoint, idle_s=0.1)
        process = pool.take()
        pool.give_back(process)
        wait_until(lambda: is_gone(process.pid), what="the idle process is gone")
        pool.close()


def test_closing_ends_every_process(gridftp: GridFtp) -> None:
    adapter = build(settings_of(gridftp))
    with adapter.open_write("object", size=None) as session:
        adapter.delete("other")
        pids = [process_of(session).pid, *(process.pid for process in inner(adapter)._pool._idle)]
        adapter.close()
        session.write(b"an open session goes on")
    assert len(pids) == 2
    assert all(map(is_gone, pids))
    assert list(gridftp.root.glob(".object*")) == []


def test_process_ends_when_the_one_that_started_it_is_killed(gridftp: GridFtp, tmp_path: Path) -> None:
    program = (
        "import sys, os, json; from adapters.gfal_client import GfalProcess; from adapters.gfal_credential import *\n"
        "from adapters.gfal_settings import make_endpoint\n"
        "options, secrets = json.load(sys.stdin)\n"
        "endpoint = make_endpoint('gsiftp', 'gridftp', 'x', options, secrets)\n"
        "print(GfalProcess(endpoint, CredentialFile(endpoint.credential)).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    settings = settings_of(gridftp)
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([settings.options, settings.credential]),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    wait_until(lambda: is_gone(int(done.stdout)), what="the process has ended with its line")
    assert list(tmp_path.glob("waybill-grid-*")) == [], "the credential is still there"


def test_stream_takes_little_memory_of_the_process(adapter: Adapter, large: str) -> None:
    with adapter.open_read(large) as stream:
        stream.read()
        status = Path(f"/proc/{process_of(stream).pid}/status")
        while stream.read():
            pass
        peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak < 64 * 1024 * 1024, "with Python, gfal2 and Globus themselves"


def test_server_killed_in_a_write_is_a_transient_error(server: GridFtp) -> None:
    with closing(build(settings_of(server, connect_timeout_s=10))) as adapter:
        session = adapter.open_write("object", size=len(LARGE))
        session.write(LARGE[: 1024 * 1024])
        server.kill()
        with pytest.raises(AdapterError) as failed:
            session.write(LARGE[1024 * 1024 :])
        assert failed.value.transient
        server.start()
        session.abort()
        assert os.listdir(server.root) == []
        assert_works(adapter)
