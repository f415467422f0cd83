"""Wrappers that upload, resume, replace and read the same keys at once, die at random, and write down what they saw."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.cutting_line import Anchor, Cut, CuttingLine, Direction, How
from tests.servers.process import ServerFailed, wait_until
from tests.sweep.cases import Form
from tests.sweep.history import Download, Upload
from tests.sweep.wrapper import Errand, GaveUp, raw
from tests.wire.curl import PATIENT, begin
from tests.wire.desk import sha256
from tests.wire.line import Line, LineCut

UPLOADS = (Form.PUT, Form.PUT_SUMMED, Form.RESUME, Form.RESUME, Form.PATCH, Form.PATCH_STREAM)
MOST_BYTES = 400_000


class Killed(Exception):
    """The wrapper dies here."""


@dataclass
class Keys:
    """The aliases that players take from: a new one for each upload, one for all downloads."""

    write: dict[str, Iterator[str]]
    read: dict[str, str]


@dataclass
class Game:
    """What all players share. ``ports`` are the gateways'; ``is_over`` ends every player at its next step."""

    keys: Keys
    ports: Sequence[int]
    folder: Path
    uploads: list[Upload] = field(default_factory=list)
    downloads: list[Download] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        return self.over.is_set()

    @contextmanager
    def players(self, seed: int, *, writers: int, readers: int, curls: int) -> Iterator[None]:
        """Let them play until the block ends; what they did is then in ``uploads`` and ``downloads``."""
        roles = [Writer] * writers + [Reader] * readers + [CurlWriter] * curls
        players = [role(self, random.Random(f"{seed} {number}")) for number, role in enumerate(roles)]
        threads = [threading.Thread(target=player.play, name="player", daemon=True) for player in players]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for player in players:
                player.hang_up()
            for thread in threads:
                thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
        assert not self.wrong, self.wrong


class Player:
    """One thread with a line of its own to each gateway."""

    def __init__(self, game: Game, chance: random.Random) -> None:
        self.game, self.chance = game, chance
        self.lines: list[CuttingLine] = []

    def play(self) -> None:
        """Turn after turn, until the game is over."""
        try:
            with ExitStack() as lines:
                self.lines = [lines.enter_context(CuttingLine(port)) for port in self.game.ports]
                while not self.game.is_over:
                    self.turn(self.chance.choice(list(self.game.keys.read)))
        except Exception as exc:  # noqa: BLE001  a player's own failure is the game's
            self.game.wrong.append(f"{type(self).__name__}: {exc!r}")

    def hang_up(self) -> None:
        """End whatever it waits for."""
        for line in self.lines:
            line.close()

    def turn(self, key: str) -> None:
        raise NotImplementedError

    def some_port(self) -> int:
        """That of a line to some gateway, which perhaps is to be cut at some byte."""
        line = self.chance.choice(self.lines)
        if self.chance.random() < 0.5:
            anchor = self.chance.choice(list(Anchor))
            count = self.chance.randrange(MOST_BYTES if anchor is Anchor.BODY else 500)
            how = self.chance.choice(list(How))
            line.arm(Cut(self.chance.choice(list(Direction)), anchor, count, how))
        return line.port

    def may_die(self, likely: float) -> None:
        """Raises Killed when the game is over, and sometimes before."""
        if self.game.is_over or self.chance.random() < likely:
            raise Killed

    def body(self) -> bytes:
        return self.chance.randbytes(self.chance.randrange(1, MOST_BYTES))


class Writer(Player):
    """A wrapper that uploads, or dies on the way, between two attempts."""

    def turn(self, key: str) -> None:
        path, body = next(self.game.keys.write[key]), self.body()
        # A job that is run anew makes other bytes, perhaps as many, and uploads them through the same alias.
        while not self.upload(key, path, body) and self.chance.random() < 0.5:
            body = self.chance.randbytes(len(body))

    def upload(self, key: str, path: str, body: bytes) -> bool:
        form = self.chance.choice(UPLOADS)
        errand = Errand(form, self.some_port(), path, body, self.game.folder, lambda: None, lambda: self.may_die(0.1))
        errand.before_transfer = lambda: setattr(errand, "port", self.some_port())
        errand.headers, errand.stall_s = {"Waybill-Sha256": sha256(body)}, self.chance.choice([1, 20])
        began, ended = time.monotonic(), None
        with suppress(Killed, GaveUp):
            raw(errand)
            ended = time.monotonic()
        self.game.uploads.append(Upload(key, sha256(body), began, ended))
        return ended is not None or self.game.is_over


class CurlWriter(Player):
    """The documented line with the real curl, which is killed at some moment."""

    def turn(self, key: str) -> None:
        body, path = self.body(), next(self.game.keys.write[key])
        file = self.game.folder / f"{threading.get_ident()}"
        file.write_bytes(body)
        url = f"http://127.0.0.1:{self.some_port()}{path}"
        began, ended, lives_s = time.monotonic(), None, self.chance.choice([0.02, 0.05, 20])
        running = begin([*PATIENT, "--limit-rate", "4M", "-T", file, url])
        with suppress(ServerFailed):
            wait_until(lambda: running.poll() is not None or self.game.is_over, what="curl ends", timeout_s=lives_s)
        running.kill()
        running.communicate()
        if running.returncode == 0:
            ended = time.monotonic()
        self.game.uploads.append(Upload(key, sha256(body), began, ended))


class Reader(Player):
    """A wrapper that downloads, going on where it broke off with the version that it began with."""

    def turn(self, key: str) -> None:
        began, got, tag = time.monotonic(), b"", ""
        while not self.game.is_over:
            span = {"Range": f"bytes={len(got)}-", "If-Match": tag} if got and tag else {}
            try:
                with Line(self.some_port(), timeout_s=3) as line:
                    line.begin("GET", f"{self.game.keys.read[key]}?wait=0", span)
                    answer = line.answer()
            except LineCut as exc:
                heads = dict(line.split(": ", 1) for line in exc.head.split("\r\n") if ": " in line)
                if exc.head.startswith("HTTP/1.1 20") and "ETag" in heads:
                    got, tag = (got if span else b"") + exc.body, heads["ETag"]
                continue
            except OSError:
                continue
            if answer.status in (412, 416):
                began, got, tag = time.monotonic(), b"", ""
            elif answer.status in (200, 206):
                whole = (got if answer.status == 206 else b"") + answer.body
                self.game.downloads.append(Download(key, sha256(whole), began, time.monotonic()))
                if answer["ETag"] != f'"{sha256(whole)}"':
                    self.game.wrong.append(f"{key}: {len(whole)} bytes are not what their ETag says")
                return
            elif answer.code == "data_pending":
                self.game.downloads.append(Download(key, None, began, time.monotonic()))
                return


def kill_at_random(
    chance: random.Random, gateways: Sequence[tuple[Callable[[], None], Callable[[], object]]], s: float
) -> int:
    """Kill one gateway after the other and bring it back, for so many seconds. How many were killed."""
    over, kills = threading.Event(), 0
    until = time.monotonic() + s
    while (left_s := until - time.monotonic()) > 0:
        over.wait(min(left_s, chance.uniform(1, 3)))  # the players play meanwhile
        if until - time.monotonic() > 3:
            kill, start = chance.choice(gateways)
            kill()
            start()
            kills += 1
    return kills
