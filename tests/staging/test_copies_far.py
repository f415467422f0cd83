"""Copies between real servers: S3, which copies by itself, and SFTP."""

import pytest

from staging import copy_jobs, transfers
from staging.copy_specs import CopySpec
from staging.models import Bucket, CopyJob, Transfer
from staging.states import CopyOnExists, CopyState
from tests.place import Place, S3Place
from tests.staging.bodies import put

DATA = bytes(range(256)) * 4096 * 6


def copy(source: Bucket, key: str, target: Bucket, to: str, **how: object) -> CopyJob:
    spec = CopySpec(source, key, target, to, **how)  # type: ignore[arg-type]
    job = copy_jobs.create(source.project, spec)
    copy_jobs.advance(str(job.pk))
    for transfer in Transfer.objects.filter(job=job):
        transfers.run(str(transfer.pk))
    job.refresh_from_db()
    assert job.state == CopyState.DONE, job.error_detail
    return job


def test_a_folder_goes_to_s3_within_it_and_back(
    s3_place: S3Place, sftp_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sftp_place.root / "run").mkdir()
    for name, data in (("a b%41", DATA), ("\u00e9", b""), ("c", b"x")):
        (sftp_place.root / "run" / name).write_bytes(data)
    assert copy(sftp_place.mounted, "run/", s3_place.mounted, "kept/").objects_done == 3
    assert s3_place.content("kept/a b%41") == DATA
    assert copy(s3_place.mounted, "kept/", s3_place.managed, "run/", moves=True).bytes_done == len(DATA) + 1
    assert not [name for name in s3_place.files() if name.startswith("kept/")]
    with monkeypatch.context() as patch:
        patch.setattr("staging.writing.receive_part", None)  # No byte passes through.
        copy(s3_place.managed, "run/", s3_place.mounted, "out/")
        (again,) = (name for name in s3_place.files() if name == "out/a b%41")
        assert s3_place.content(again) == DATA
    copy(s3_place.mounted, "out/", sftp_place.mounted, "back/")
    assert {path.name: path.read_bytes() for path in (sftp_place.root / "back").iterdir()} == {
        "a b%41": DATA,
        "\u00e9": b"",
        "c": b"x",
    }
    put(s3_place, b"new", key="run/c", on_exists="replace")
    job = copy(s3_place.managed, "run/", sftp_place.mounted, "back/", on_exists=CopyOnExists.SKIP)
    assert (job.objects_skipped, (sftp_place.root / "back" / "c").read_bytes()) == (3, b"x")
    copy(s3_place.managed, "run/c", sftp_place.mounted, "back/c", on_exists=CopyOnExists.REPLACE)
    assert (sftp_place.root / "back" / "c").read_bytes() == b"new"
