"""Many wrappers at once on lines that break, before gateways that are killed: every byte of the history makes sense."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection

from staging.models import Object
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.sweep import checker, extent
from tests.sweep.history import violations
from tests.sweep.players import Game, Keys, kill_at_random
from tests.wire.desk import REPLACE, Desk

KEYS = [f"history/{number}" for number in range(4)]
SECONDS = max(extent.SECONDS / extent.TESTS, 60) if extent.IS_FULL else 10
ALIASES = 4000 if extent.IS_FULL else 150


@pytest.fixture
def gateways(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[list[Gateway]]:
    """Two over one PostgreSQL; SQLite serves one."""
    with ExitStack() as running:
        names = ["first", "second"] if connection.vendor == "postgresql" else ["only"]
        for name in names:
            (tmp_path / name).mkdir()
        yield [running.enter_context(Gateway(tmp_path / name, **installation())) for name in names]


def aliases_of(place: Place, gateway: Gateway) -> Keys:
    desk = Desk(gateway, place)
    write = {key: iter([desk.write(key, on_exists=REPLACE) for _ in range(ALIASES)]) for key in KEYS}
    return Keys(write, {key: desk.read(key) for key in KEYS})


@pytest.mark.timeout(0 if extent.IS_FULL else 300)
def test_a_history_of_many_wrappers_makes_sense(gateways: list[Gateway], place: Place, tmp_path: Path) -> None:
    seed = extent.SEED
    game = Game(aliases_of(place, gateways[0]), [gateway.port for gateway in gateways], tmp_path)
    with game.players(seed, writers=5, readers=4, curls=1):
        kills = kill_at_random(random.Random(seed), [(it.kill, it.start) for it in gateways], SECONDS)
    for gateway in gateways:
        gateway.stop()  # What still runs comes to its end.
    place.sweep()
    versions = {key: list(_digests(key)) for key in KEYS}
    found = violations(game.uploads, game.downloads, versions)
    assert not found, f"SWEEP_SEED={seed}:\n" + "\n".join(found)
    checker.check_bytes(place)
    place.assert_nothing_is_left()
    acknowledged = sum(upload.ended is not None for upload in game.uploads)
    told = f"{acknowledged} of {len(game.uploads)} uploads, {len(game.downloads)} downloads, {kills} kills"
    assert min(acknowledged, len(game.downloads), kills, len(game.uploads) - acknowledged) > 0, told
    print(f"history: {told}")


def _digests(key: str) -> Iterator[str]:
    yield from Object.objects.filter(key=key).order_by("version").values_list("sha256", flat=True)
