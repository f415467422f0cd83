"""A storage to which a process may have one connection: what takes two at once is told, and not tried for ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import storages
from staging.models import Project
from staging.states import CopyState
from staging.storages import StorageSpec
from tests.adapters.sftp.storages import settings_of
from tests.servers.sshd import Sshd
from tests.staging.copies import begin, contents, mounted, work
from tests.staging.yard import Yard


@pytest.fixture
def server(yard: Yard, project: Project, tmp_path: Path) -> Iterator[Sshd]:
    """The one of the storage ``narrow``."""
    with Sshd(tmp_path) as server:
        given = settings_of(server, max_connections=1, connect_timeout_s=2)
        storages.create(project, StorageSpec("narrow", "sftp", given.options, given.credential))
        (server.root / "in/sub").mkdir(parents=True)
        (server.root / "in/sub/a").write_bytes(b"one")
        yield server
        storages.close_adapters()


def test_a_copy_within_it_fails_and_says_why(yard: Yard, project: Project, server: Sshd) -> None:
    yard.storages["narrow"] = project.storages.get(name="narrow")
    source, target = mounted(yard, "narrow", "in/"), mounted(yard, "narrow", "out/")
    del yard.storages["narrow"]  # Its faults are none of the yard's.
    job = work(yard, begin(yard, (source, ""), (target, "")))
    assert (job.state, job.error_code) == (CopyState.FAILED, "adapter_error")
    assert "max_connections" in job.error_detail
    kept = yard.bucket("kept")
    assert work(yard, begin(yard, (source, ""), (kept, ""))).state == CopyState.DONE
    assert contents(yard, kept) == {"sub/a": b"one"}
