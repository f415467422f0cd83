"""The read cache across processes: what one brings the others wait for, and go on where it dies."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from staging import aliases, cache_room, storages
from staging.alias_terms import AliasSpec
from staging.cached_blocks import BLOCK_BYTES
from staging.models import Bucket, CachedBlock, Object, Project
from staging.states import AliasMode, BlockState
from tests.conftest import test_installation as installation
from tests.servers import faulty
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.staging.test_read_cache import READ, read, wait_until_filled
from tests.staging.yard import Yard
from tests.wire.curl import begin, curl, end

DATA = os.urandom(BLOCK_BYTES + 1_000_000)


@pytest.fixture
def yard(project: Project, tmp_path: Path) -> Iterator[Yard]:
    faulty.install()
    yard = Yard(project, tmp_path)
    yield yard
    wait_until_filled()
    for name in yard.storages:
        yard.faults(name).heal()
    storages.close_adapters()


@pytest.fixture
def own_gateway(django_db_setup: None, yard: Yard, tmp_path: Path) -> Iterator[Gateway]:
    """One that the test may kill."""
    with Gateway(tmp_path, application=faulty.WSGI, **installation()) as gateway:
        yield gateway


def url_of(gateway: Gateway, bucket: Bucket, made: Object) -> str:
    alias = aliases.create(bucket, [AliasSpec(AliasMode.READ, made.key)])[0]
    return gateway.url + gateway.alias_path(aliases.token_of(alias), made.key)


def test_two_processes_take_an_object_once_and_one_goes_on_where_the_other_is_killed(
    yard: Yard, own_gateway: Gateway, tmp_path: Path
) -> None:
    bucket = yard.bucket(**READ)
    first, second = (yard.put(bucket, key, DATA) for key in ("first", "second"))
    yard.faults("home").count_reads()
    url = url_of(own_gateway, bucket, first)

    def here(_: int) -> bool:
        try:
            return read(bucket, first) == DATA
        finally:
            connection.close()

    def there(number: int) -> bool:
        target = tmp_path / str(number)
        return curl("-fsS", "-o", target, url).exit == 0 and target.read_bytes() == DATA

    with ThreadPoolExecutor(8) as readers:
        done = [readers.submit(who, number) for number in range(4) for who in (here, there)]
        assert all(one.result() for one in done)
    wait_until(lambda: not CachedBlock.objects.exclude(state=BlockState.READY).exists(), what="all is brought")
    assert yard.faults("home").bytes_read() == len(DATA)

    yard.faults("fast").hold("write")
    dying = begin(["-sS", "-o", os.devnull, url_of(own_gateway, bucket, second)])
    yard.faults("fast").wait_until_held("write")
    own_gateway.kill()
    assert end(dying).exit in (18, 52), "the answer broke off, behind its head or before it"
    yard.faults("fast").heal()
    waiting = threading.Timer(0.5, expire)
    waiting.start()
    assert read(bucket, second) == DATA
    waiting.join()
    wait_until_filled()
    assert CachedBlock.objects.filter(object=second, state=BlockState.READY).count() == 2
    cache_room.sweep()
    yard.assert_all_is_counted()


def expire() -> None:
    """As if the one that was killed had been silent for as long as its lease lasts."""
    CachedBlock.objects.filter(state=BlockState.FILLING).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    connection.close()
