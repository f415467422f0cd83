"""Waybill's part in the contests: the same work through aliases of one gateway process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from staging.models import Bucket
from staging.states import AliasMode
from tests.bench import clients, lab
from tests.bench.contest import MIB, Contender, Contest, Work, size_in_words
from tests.bench.rivalry import Rivalry
from tests.bench.usage import ProcessTree
from tests.servers.gateway import Gateway

NAME = "Waybill"
#: For each transfer, whatever its size.
MOST_EXTRA_BYTES = 16 * MIB
#: Small downloads a second of one process from local storage.
LEAST_SMALL_GETS = 800


class Contests:
    """Large and small files, up and down, on one kind of storage, against its rivals."""

    def __init__(self, gateway: Gateway, bucket: Bucket, rivalry: Rivalry) -> None:
        self._gateway, self._bucket, self._rivalry = gateway, bucket, rivalry
        for _ in range(3):
            self._up_and_down()
        self._usage = ProcessTree(gateway.pid)

    def large(self, rounds: int) -> Iterator[Contest]:
        """One large file: uploads first, and then downloads of what came last."""
        rivalry, keys = self._rivalry, [f"large/{number}" for number in range(rounds)]
        up, down = self._urls(keys, AliasMode.WRITE), self._urls(keys, AliasMode.READ)

        def put(number: int) -> Work:
            return clients.curl_put(up[number], rivalry.large)

        def get(_: int) -> Work:
            return clients.curl_get(down[-1], rivalry.size)

        def tidy(number: int) -> None:
            if keys[number] != keys[-1]:
                lab.discard(self._bucket, keys[number])

        title = f"{size_in_words(rivalry.size)}, {rivalry.name}"
        bars = {"large": True, "most_extra_bytes": MOST_EXTRA_BYTES}
        waybill = Contender(NAME, put, self._usage, tidy=tidy)
        yield Contest(f"PUT {title}", waybill, rivalry.put_large(), **bars)
        stored = lab.replica(self._bucket, keys[-1]).key
        yield Contest(f"GET {title}", Contender(NAME, get, self._usage), rivalry.get_large(stored), **bars)

    def small(self, rounds: int, count: int, *, seconds: int) -> Iterator[Contest]:
        """Many small files: an equal share is uploaded in each round; then all are downloaded in turn."""
        rivalry, share = self._rivalry, count // rounds
        batches = [[f"{number:06}" for number in range(at * share, (at + 1) * share)] for at in range(rounds)]
        keys = [f"small/{name}" for batch in batches for name in batch]
        up, down = self._urls(keys, AliasMode.WRITE), self._urls(keys, AliasMode.READ)

        def put(number: int) -> Work:
            return clients.put_all(up[number * share : (number + 1) * share], rivalry.small)

        def get(_: int) -> Work:
            return clients.wrk(down, rivalry.folder, seconds=seconds)

        title = f"{count:,} files of {size_in_words(len(rivalry.small))}, {rivalry.name}"
        least = LEAST_SMALL_GETS if rivalry.name == "local" else None
        waybill = Contender(NAME, put, self._usage)
        yield Contest(f"PUT {title}", waybill, rivalry.put_small(batches), large=False)
        waybill = Contender(NAME, get, self._usage)
        rivals = rivalry.get_small(batches, seconds=seconds)
        yield Contest(f"GET {title}", waybill, rivals, large=False, least_rate=least)

    def _urls(self, keys: Sequence[str], mode: AliasMode) -> list[str]:
        return lab.urls(self._gateway, self._bucket, keys, mode)

    def _up_and_down(self) -> None:
        """What a gateway that has served somebody already has loaded is no cost of the transfers that are measured."""
        key = "warm"
        body = self._rivalry.folder / "warm"
        body.write_bytes(self._rivalry.small)
        clients.curl_put(self._urls([key], AliasMode.WRITE)[0], Path(body))
        clients.curl_get(self._urls([key], AliasMode.READ)[0], len(self._rivalry.small))
