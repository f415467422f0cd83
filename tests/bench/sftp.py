"""An SFTP storage against OpenSSH's own client."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from staging.storages import StorageSpec
from tests.bench import clients
from tests.bench.contest import Contender
from tests.bench.rivalry import Rivalry
from tests.bench.usage import Clients
from tests.servers.sshd import Sshd

#: The cipher that is quickest on most processors, and the one that OpenSSH takes if nobody says anything.
_CIPHERS = {"sftp, aes128-gcm": "aes128-gcm@openssh.com", "sftp, its default cipher": None}
_LEAST = {"sftp, aes128-gcm": 0.5}


class Sftp(Rivalry):
    """sftp sends small files one after the other, by its own recursive put and get."""

    name = "SFTP"

    def __init__(self, folder: Path, large: Path, small: bytes) -> None:
        super().__init__(folder, large, small)
        self._server = Sshd(folder / "sshd")
        self._usage = Clients()

    def __enter__(self) -> Sftp:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def spec(self) -> StorageSpec:
        server = self._server
        options = {"host": server.host, "port": server.port, "username": server.user, "root": str(server.root)}
        secrets = {"private_key": server.key_file.read_text()}
        return StorageSpec("bench-sftp", "sftp", {**options, "host_key": server.host_key}, secrets)

    def put_large(self) -> list[Contender]:
        target = self._server.root / "large"
        return self._each(f"put {self.large} {target}", tidy=target)

    def get_large(self, key: str) -> list[Contender]:
        return self._each(f"get {self._server.root / key} {self.folder / 'got'}", tidy=self.folder / "got")

    def put_small(self, batches: Sequence[Sequence[str]]) -> list[Contender]:
        for number, batch in enumerate(batches):
            folder = self.folder / f"batch-{number}"
            folder.mkdir()
            for name in batch:
                (folder / name).write_bytes(self.small)

        def run(number: int) -> clients.Work:
            source = self.folder / f"batch-{number}"
            return self._sftp([f"put -r {source} {self._server.root}"], amount=len(batches[number]))

        return [Contender("sftp -r, aes128-gcm", run, self._usage)]

    def get_small(self, batches: Sequence[Sequence[str]], *, seconds: int) -> list[Contender]:
        target = self.folder / "got"

        def run(number: int) -> clients.Work:
            source = self._server.root / f"batch-{number}"
            return self._sftp([f"get -r {source} {target}"], amount=len(batches[number]))

        return [Contender("sftp -r, aes128-gcm", run, self._usage, tidy=lambda _: shutil.rmtree(target))]

    def _each(self, command: str, *, tidy: Path) -> list[Contender]:
        def run(cipher: str | None, _: int) -> clients.Work:
            return self._sftp([command], amount=self.size, cipher=cipher)

        return [
            Contender(name, partial(run, cipher), self._usage, _LEAST.get(name), tidy=lambda _: tidy.unlink())
            for name, cipher in _CIPHERS.items()
        ]

    def _sftp(
        self, commands: list[str], *, amount: float, cipher: str | None = "aes128-gcm@openssh.com"
    ) -> clients.Work:
        return clients.sftp(self._server, commands, amount=amount, cipher=cipher)
