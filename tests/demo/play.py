"""The eight steps of the demo, on one storage."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.demo.engine import Engine, Failed
from tests.servers.process import find_program

JOBS = Path(__file__).with_name("jobs")
LIMIT = 10_000_000
#: What number theory says of the primes below LIMIT: how many, the largest gap, and the prime before it.
PRIMES, LARGEST_GAP, BEFORE_IT = 664_579, 154, 4_652_353


class Play:
    """One run of the workflow; everything that it makes in the catalog is gone again after ``clean``."""

    def __init__(self, engine: Engine, storage: str, bucket: str, folder: Path) -> None:
        self._engine, self._storage, self._bucket, self._folder = engine, storage, bucket, folder
        self._run = f"demo-{folder.name}"
        self._began = time.monotonic()
        self._aliases: list[str] = []
        self._keys: list[str] = []

    def all_steps(self) -> None:
        """Raises Failed naming what went wrong."""
        steps = self._engine.call("POST", f"storages/{self._storage}/test")
        if not steps["ok"]:
            raise Failed(f"the test of the storage failed: {steps['steps'][-1]['detail']}")
        self._say(1, "engine", f"uses the storage {self._storage}: {len(steps['steps'])} checks passed")

        output = self._alias("primes.csv", "write", job="1")
        self._say(2, "engine", f"asks for an alias for {output['key']}, to be written: {_shown(output['url'])}")

        self._job(1, [str(LIMIT)], OUTPUT=output["url"])
        made = self._folder / "job1" / "primes.csv"

        stored = self._object("primes.csv")
        _expect("the catalog's size", stored["size"], made.stat().st_size)
        _expect("the catalog's SHA-256", stored["digests"]["sha256"], _sha256(made))
        self._say(5, "engine", f"sees the object: {_described(stored)}")

        source, result = self._alias("primes.csv", "read", job="2"), self._alias("gaps.csv", "write", job="2")
        self._say(6, "engine", f"asks for job 2's input alias: {_shown(source['url'])}, and an output alias")

        self._job(2, [], INPUT=source["url"], OUTPUT=result["url"])

        self._read_result()
        self._revoke()

    def clean(self) -> None:
        """Delete the objects that were made."""
        for key in self._keys:
            self._engine.call("DELETE", f"buckets/{self._bucket}/objects/{self._key(key)}")
        self._keys.clear()

    def _read_result(self) -> None:
        stored, file = self._object("gaps.csv"), self._folder / "result.csv"
        alias = self._alias("gaps.csv", "read", job="result")
        _curl("-f", "-o", str(file), alias["url"])
        _expect("the result's SHA-256", _sha256(file), stored["digests"]["sha256"])
        with file.open() as lines:
            gaps = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(lines)]
        _expect("the number of gaps", sum(row["count"] for row in gaps), PRIMES - 1)
        _expect("the largest gap", (gaps[-1]["gap"], gaps[-1]["first_after"]), (LARGEST_GAP, BEFORE_IT))
        self._say(8, "engine", f"reads the result, {_described(stored)}")
        self._say(8, "engine", f"it is right: below {LIMIT:,} the largest gap is {LARGEST_GAP}, after {BEFORE_IT:,}")

    def _revoke(self) -> None:
        revoked = self._engine.call("POST", "aliases/revoke", {"labels": {"run": self._run}})["revoked"]
        _expect("the number of aliases revoked", revoked, len(self._aliases))
        for url in self._aliases:
            _expect("a revoked alias's status", _curl("-o", os.devnull, "-w", "%{http_code}", url), "410")
        self._say(8, "engine", f"revokes the {revoked} aliases, which all answer 410 now")

    def _job(self, number: int, arguments: list[str], **urls: str) -> None:
        """A process that knows the URLs of its aliases and nothing else; every line it prints begins with its step."""
        folder = self._folder / f"job{number}"
        folder.mkdir()
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
        command = ["sh", str(JOBS / f"job{number}.sh"), *arguments]
        with tempfile.TemporaryFile("w+") as errors:
            job = subprocess.Popen(
                command, cwd=folder, env={"PATH": path, **urls}, text=True, stdout=subprocess.PIPE, stderr=errors
            )
            with job:
                for line in job.stdout or ():
                    step, _, text = line.strip().partition(" ")
                    self._say(int(step), f"job {number}", text)
            errors.seek(0)
            if job.returncode:
                raise Failed(f"job {number} ended with status {job.returncode}: {errors.read().strip()}")

    def _alias(self, name: str, mode: str, *, job: str) -> dict[str, Any]:
        labels = {"run": self._run, "job": job}
        body = {"bucket": self._bucket, "key": self._key(name), "mode": mode, "labels": labels, "lifetime_s": 3600}
        alias: dict[str, Any] = self._engine.call("POST", "aliases", body)
        self._aliases.append(alias["url"])
        return alias

    def _object(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._engine.call("GET", f"buckets/{self._bucket}/objects/{self._key(name)}")
        self._keys.append(name)
        return found

    def _key(self, name: str) -> str:
        return f"{self._run}/{name}"

    def _say(self, step: int, who: str, what: str) -> None:
        print(f"  {step}  {who:<7} {what}  [{time.monotonic() - self._began:.2f} s]", flush=True)


def _curl(*arguments: str) -> str:
    program = find_program("curl", package="curl")
    answer = subprocess.run([program, "-sS", *arguments], text=True, capture_output=True, timeout=60, check=False)
    if answer.returncode:
        raise Failed(f"curl ended with status {answer.returncode}: {answer.stderr.strip()}")
    return answer.stdout


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failed(f"{what} is {found}, not {wanted}")


def _described(stored: dict[str, Any]) -> str:
    places = ", ".join(f"{r['storage']} (tier {r['tier']}, {r['state']})" for r in stored["replicas"])
    return f"{stored['size']} bytes, sha256 {stored['digests']['sha256']}, on {places}"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shown(url: str) -> str:
    """The URL with most of its token left out: who has it whole may use it."""
    head, _, tail = url.partition("/a/")
    token, _, name = tail.partition("/")
    return f"{head}/a/{token[:6]}…/{name}"
