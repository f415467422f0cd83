"""What a policy's ``verify`` asks for is seen of an upload before it is answered for."""

import pytest

from adapters.errors import Offline
from staging import aliases, unpacking_uploads
from staging.alias_terms import AliasSpec
from staging.errors import CopyDiffers
from staging.models import Object, Upload
from staging.states import AliasMode, OnExists
from staging.unpacking import UnpackedFile
from tests.staging.bodies import Body
from tests.staging.copies import begin, contents, mounted, work
from tests.staging.yard import DATA, Yard, read


@pytest.mark.parametrize("verify", ["read", "checksum"])
@pytest.mark.parametrize("lands", ["home", "fast"])
def test_an_upload_is_read_back_before_it_is_answered_for(yard: Yard, verify: str, lands: str) -> None:
    policy = {"write": "back", "lands_on": "fast"} if lands == "fast" else {}
    bucket = yard.bucket(verify=verify, **policy)
    before = yard.put(bucket, "x", b"before")
    yard.faults(lands).flip_once()
    with pytest.raises(CopyDiffers):
        yard.put(bucket, "x", DATA)
    assert yard.current(bucket, "x") == before
    assert not Upload.objects.exists()
    yard.assert_all_is_counted()
    assert read(yard.put(bucket, "x", DATA)) == DATA


def test_by_its_size_alone_nothing_is_read_back(yard: Yard) -> None:
    yard.faults("home").count_reads()
    yard.put(yard.bucket(), "x", DATA)
    assert yard.faults("home").bytes_read() == 0
    yard.put(yard.bucket("read", verify="read"), "x", DATA)
    assert yard.faults("home").bytes_read() == len(DATA)


def test_so_are_the_files_of_an_archive(yard: Yard) -> None:
    bucket = yard.bucket(verify="read")
    alias = aliases.create(bucket, [AliasSpec(AliasMode.WRITE_PREFIX, "", on_exists=OnExists.REPLACE)])[0]
    yard.faults("home").flip_once()
    for is_right in (False, True):
        files = [UnpackedFile(name, len(DATA), Body(DATA)) for name in "ab"]
        if is_right:
            assert unpacking_uploads.receive(alias, "", files).count == 2
        else:
            with pytest.raises(CopyDiffers):
                unpacking_uploads.receive(alias, "", files)
            assert not Object.objects.exists()
        yard.assert_all_is_counted()


@pytest.mark.parametrize("verify", ["size", "read"])
def test_what_is_to_be_proven_is_not_copied_by_the_storage_itself(yard: Yard, verify: str) -> None:
    there = mounted(yard, "home")
    yard.put(there, "x", DATA)
    bucket = yard.bucket(verify=verify)
    yard.faults("home").fail("copy", Offline)
    job = work(yard, begin(yard, (there, "x"), (bucket, "x")))
    assert contents(yard, bucket) == ({"x": DATA} if verify == "read" else {})
    assert job.state == ("done" if verify == "read" else "running")
