"""Resumed uploads on S3, which keeps whole parts only: what HEAD tells is what the service has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import storages
from staging.models import Project, Upload
from staging.storages import StorageSpec
from tests.conftest import make_place
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift
from tests.wire.desk import Desk, sha256

DATA = bytes(range(241)) * 130_000  # 31 MB: several parts


@pytest.fixture
def s3_desk(gateway: Gateway, project: Project, swift: Swift, tmp_path: Path) -> Iterator[Desk]:
    bucket = f"resume-{tmp_path.name.lower().replace('_', '-')}"[:60].rstrip("-")
    swift.create_bucket(bucket)
    spec = StorageSpec(
        "s3", "s3", {"endpoint": swift.endpoint, "bucket": bucket}, {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    )
    place: Place = make_place(project, "s3-data", spec, tmp_path)
    yield Desk(gateway, place)
    storages.close_adapters()


@pytest.mark.parametrize("cut", [1, 5_000_000, 8 * 1024 * 1024, 20_000_000, len(DATA) - 1])
def test_an_upload_goes_on_behind_the_last_whole_part(s3_desk: Desk, cut: int) -> None:
    path = s3_desk.write()
    with s3_desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(DATA)), "Waybill-Sha256": sha256(DATA)})
        line.send(DATA[:cut])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    offset = int(s3_desk.ask("HEAD", path)["Upload-Offset"])
    assert offset <= cut
    assert cut < 20_000_000 or offset > 0
    span = {"Content-Range": f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"} if offset else {}
    assert s3_desk.ask("PUT", path, span, body=DATA[offset:]).status == 201
    assert s3_desk.content() == DATA
    wait_until(lambda: not Upload.objects.exists(), what="nothing is reserved any more")
