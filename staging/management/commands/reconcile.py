"""`manage.py reconcile`: bytes that no row knows, rows whose bytes are gone, and counts that are off."""

import json
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adapters.errors import AdapterError
from staging import orphans, tally
from staging.errors import StagingError
from staging.models import Storage
from staging.orphans import Kind, Report

#: What the kinds are called, and what becomes of them with --act.
_WORDS = {
    Kind.ORPHAN: ("bytes that no row knows", "removed"),
    Kind.UNFINISHED: ("unfinished writes that no row knows", "removed"),
    Kind.YOUNG: ("of either, but too young to be sure", "left"),
    Kind.UNDATED: ("of either, of an age that the storage does not tell (see --undated)", "left"),
    Kind.FOREIGN: ("files in .waybill that Waybill does not make", "left"),
    Kind.LOST: ("copies that are not there, or of another size", "condemned"),
}
RIGHT, WRONG, UNKNOWN = 0, 1, 2


class Command(BaseCommand):
    """For an operator: once in a while, and after a catalog was restored."""

    help = (
        "Compare what storages hold in Waybill's own folder with the catalog. Nothing is changed without --act. "
        "Exit status: 0 nothing is wrong, or all of it was put right; 1 something is wrong; "
        "2 a storage could not be looked at whole, or holds too much that is wrong to act on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("storages", nargs="*", help="names; all storages where none is given")
        parser.add_argument("--project", help="only storages of the project of this name")
        parser.add_argument(
            "--act",
            action="store_true",
            help="remove what no row knows, condemn lost copies, correct counts",
        )
        parser.add_argument("--undated", action="store_true", help="take bytes for old where the storage tells no time")
        parser.add_argument(
            "--even-most", action="store_true", help="act even where more is wrong than right on a storage"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *_args: Any, **options: Any) -> None:
        told = [self._one(storage, options) for storage in _chosen(options["storages"], options["project"])]
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2))
        sys.exit(max((one["status"] for one in told), default=RIGHT))

    def _one(self, storage: Storage, options: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"project": storage.project.name, "storage": storage.name, "acted": False, "error": ""}
        report, off = Report(), tally.drift(storage)
        try:
            report = orphans.look(storage, undated=options["undated"])
            is_wrong = bool(off) or report.is_wrong
            told["status"] = WRONG if is_wrong else RIGHT
            if options["act"] and report.is_doubtful and not options["even_most"]:
                told |= {
                    "status": UNKNOWN,
                    "error": "more is wrong than right: is it mounted, is the catalog the newest?",
                }
            elif options["act"] and is_wrong:
                told["acted"] = True
                report = orphans.act(storage, undated=options["undated"])
                off = tally.correct(storage)
                told["status"] = RIGHT
        except (AdapterError, StagingError) as exc:
            told |= {"status": UNKNOWN, "error": str(exc)}
        told |= {"stored": _figures(report.stored), "listed": _figures(report.listed)}
        for kind, count in report.found.items():
            told[kind.value] = {**_figures(count), "keys": count.keys, "ages_s": count.ages_s}
        told["untold"] = report.untold
        told["drift"] = {"used": off.used, "reserved": off.reserved}
        if not options["json"]:
            self._print(told)
        return told

    def _print(self, told: dict[str, Any]) -> None:
        stored, listed, drift = told["stored"], told["listed"], told["drift"]
        self.stdout.write(
            f"{told['project']}/{told['storage']}: {stored['count']} files of {stored['bytes']} bytes, "
            f"{listed['count']} rows of {listed['bytes']} bytes"
        )
        for kind, (words, done) in _WORDS.items():
            if count := told[kind.value]["count"]:
                became = f", {done}" if told["acted"] else ""
                self.stdout.write(f"  {count} {words} ({told[kind.value]['bytes']} bytes){became}:")
                for key, age_s in zip(told[kind.value]["keys"], told[kind.value]["ages_s"], strict=True):
                    self.stdout.write(f"    {key}" + ("" if age_s is None else f", {timedelta(seconds=age_s)} old"))
        if any(drift.values()):
            became = ", corrected" if told["acted"] and not told["error"] else ""
            self.stdout.write(f"  counts too high by {drift['used']} used, {drift['reserved']} reserved{became}")
        if told["untold"]:
            self.stdout.write(f"  unfinished writes were not looked for: {told['untold']}")
        if told["error"]:
            self.stdout.write(f"  not done: {told['error']}")


def _chosen(names: list[str], project: str | None) -> list[Storage]:
    known = [one for one in orphans.storages() if project in (None, one.project.name)]
    if missing := set(names) - {one.name for one in known}:
        raise CommandError(f"There is no storage to look at named {', '.join(sorted(missing))}.", returncode=UNKNOWN)
    return [one for one in known if not names or one.name in names]


def _figures(count: orphans.Count) -> dict[str, int]:
    return {"count": count.count, "bytes": count.bytes}
