"""An S3 storage against curl on pre-signed URLs of the same server, and boto3's managed transfer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from staging.storages import StorageSpec
from tests.bench import clients
from tests.bench.contest import Contender, Work
from tests.bench.rivalry import Rivalry
from tests.bench.signing import BUCKET, Signer
from tests.bench.usage import Clients
from tests.servers.swift import ACCESS_KEY, REGION, SECRET_KEY, Swift


class S3(Rivalry):
    """boto3 runs in this process, with a client that is made already and its own threads."""

    name = "S3"

    def __init__(self, folder: Path, large: Path, small: bytes) -> None:
        super().__init__(folder, large, small)
        self._server = Swift(folder / "swift")
        self._server.folder.mkdir()
        self._usage = Clients()
        self._signer = Signer(self._server, connections=clients.CONNECTIONS)
        self._client = self._signer.client

    def __enter__(self) -> S3:
        self._server.start()
        self._server.create_bucket(BUCKET)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.stop()

    def spec(self) -> StorageSpec:
        options = {"endpoint": self._server.endpoint, "region": REGION, "bucket": BUCKET}
        return StorageSpec("bench-s3", "s3", options, {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY})

    def put_large(self) -> list[Contender]:
        def by_curl(_: int) -> Work:
            return clients.curl_put(self._signer.url("PUT", "large"), self.large)

        def by_boto3(_: int) -> Work:
            return _timed(self.size, lambda: self._client.upload_file(str(self.large), BUCKET, "large"))

        def tidy(_: int) -> None:
            self._client.delete_object(Bucket=BUCKET, Key="large")

        return [
            Contender("curl, pre-signed URL", by_curl, self._usage, 0.8, tidy),
            Contender("boto3 upload_file", by_boto3, self._usage, tidy=tidy),
        ]

    def get_large(self, key: str) -> list[Contender]:
        target = self.folder / "got"

        def by_curl(_: int) -> Work:
            return clients.curl_get(self._signer.url("GET", key), self.size)

        def by_boto3(_: int) -> Work:
            return _timed(self.size, lambda: self._client.download_file(BUCKET, key, str(target)))

        return [
            Contender("curl, pre-signed URL", by_curl, self._usage, 0.8),
            Contender("boto3 download_file", by_boto3, self._usage, tidy=lambda _: target.unlink()),
        ]

    def put_small(self, batches: Sequence[Sequence[str]]) -> list[Contender]:
        def by_url(number: int) -> Work:
            urls = [self._signer.url("PUT", f"small/{name}") for name in batches[number]]
            return clients.put_all(urls, self.small)

        def put(name: str) -> None:
            self._client.put_object(Bucket=BUCKET, Key=f"boto3/{name}", Body=self.small)

        def by_boto3(number: int) -> Work:
            return _timed(len(batches[number]), lambda: _in_threads(put, batches[number]))

        return [Contender("pre-signed URLs", by_url), Contender("boto3 put_object", by_boto3, self._usage)]

    def get_small(self, batches: Sequence[Sequence[str]], *, seconds: int) -> list[Contender]:
        def by_url(_: int) -> Work:
            urls = [self._signer.url("GET", f"small/{name}") for batch in batches for name in batch]
            return clients.wrk(urls, self.folder, seconds=seconds)

        def get(name: str) -> None:
            with self._client.get_object(Bucket=BUCKET, Key=f"small/{name}")["Body"] as body:
                body.read()

        def by_boto3(number: int) -> Work:
            return _timed(len(batches[number]), lambda: _in_threads(get, batches[number]))

        return [Contender("pre-signed URLs", by_url), Contender("boto3 get_object", by_boto3, self._usage)]


def _in_threads(call: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(clients.CONNECTIONS) as threads:
        for _ in threads.map(call, names):
            pass


def _timed(amount: float, work: Callable[[], object]) -> Work:
    began = time.perf_counter()
    work()
    return Work(amount, time.perf_counter() - began)
