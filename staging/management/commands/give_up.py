"""`manage.py give_up`: a storage is gone for good."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from staging import giving_up
from staging.errors import InvalidRequest
from staging.management import named


class Command(BaseCommand):
    """For an operator whose disk has burnt."""

    help = (
        "Say which objects would be lost if a storage is given up for good; with --act give it up. "
        "Exit status: 0 nothing would be lost, or it is given up; 1 objects would be lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("storage", help="its name")
        parser.add_argument("--project", default="default", help="the project's name")
        parser.add_argument("--to", help="the storage that takes its buckets, and its place in policies")
        parser.add_argument("--act", action="store_true", help="give it up")
        parser.add_argument("--lose", type=int, default=0, help="at most so many objects may be lost (with --act)")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *_args: Any, **options: Any) -> None:
        storage = named.storage(options["project"], options["storage"])
        to = named.storage(options["project"], options["to"]) if options["to"] else None
        found, objects = giving_up.outlook(storage), giving_up.all_lost(storage)
        if options["json"]:
            self._print_json(found, objects)
        else:
            self._print(str(storage), found, objects)
        if not options["act"]:
            sys.exit(1 if found.lost_objects else 0)
        try:
            giving_up.start(storage, to=to, lose=options["lose"])
        except InvalidRequest as exc:
            raise CommandError(" ".join([str(exc), *map(str, exc.fields.values())])) from exc
        if not options["json"]:
            self.stdout.write(f"{storage} is given up.")

    def _print(self, name: str, found: giving_up.Outlook, objects: Iterator[str]) -> None:
        self.stdout.write(f"{name}: {found.replicas} copies of {found.bytes} bytes, {found.uploads} uploads")
        if found.mounted:
            self.stdout.write(f"  mounted buckets, all of which would be gone: {', '.join(found.mounted)}")
        self.stdout.write(f"  {found.lost_objects} objects ({found.lost_bytes} bytes) can be read nowhere else:")
        for one in objects:
            self.stdout.write(f"    {one}")

    def _print_json(self, found: giving_up.Outlook, objects: Iterator[str]) -> None:
        """One document, written as the names come: there may be millions."""
        self.stdout.write(json.dumps(asdict(found), indent=2).removesuffix("\n}") + ',\n  "objects": [', ending="")
        for number, one in enumerate(objects):
            self.stdout.write(f"{',' if number else ''}\n    {json.dumps(one)}", ending="")
        self.stdout.write("\n  ]\n}")
