"""`manage.py drain`: a storage, or all storages of a node, is emptied; how far it is; and giving that up."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from staging import drains, node_drains
from staging.connections import release
from staging.errors import InvalidRequest
from staging.management import named
from staging.models import Storage
from staging.states import StorageState

_EVERY_S = 5


class Command(BaseCommand):
    """For an operator at the machine; workers move the bytes."""

    help = (
        "Begin to empty a storage or a node, or cancel that; with neither --start nor --cancel tell what is left. "
        "Exit status: 0 nothing is left, 1 something is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of a storage")
        parser.add_argument("--node", action="store_true", help="the name is a node's: all of its storages")
        parser.add_argument("--project", default="default", help="the storages' project, by name")
        deed = parser.add_mutually_exclusive_group()
        deed.add_argument("--start", action="store_true", help="take no new bytes there, and move away what is there")
        deed.add_argument(
            "--cancel", action="store_true", help="take new bytes again; what was moved stays where it is"
        )
        parser.add_argument("--to", help="where to, by name; of a node's storages the one with most room if not given")
        parser.add_argument("--deadline-s", type=int, help="seconds after which an event tells that something is left")
        parser.add_argument("--wait", action="store_true", help="return once nothing is left")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            storages = self._of_node(options) if options["node"] else self._of_storage(options)
        except InvalidRequest as exc:
            raise CommandError(" ".join([str(exc), *map(str, exc.fields.values())])) from exc
        while (left := self._tell(storages)) and options["wait"]:
            release()
            time.sleep(_EVERY_S)
        sys.exit(1 if left else 0)

    def _of_storage(self, options: dict[str, Any]) -> list[Storage]:
        storage, to = named.storage(options["project"], options["name"]), self._to(options)
        if options["start"] and to is None:
            raise CommandError("Say where to: --to STORAGE.")
        if options["start"] and to is not None:
            drains.start(storage, to, deadline_s=options["deadline_s"])
        elif options["cancel"]:
            drains.cancel(storage)
        return [storage]

    def _of_node(self, options: dict[str, Any]) -> list[Storage]:
        node = named.node(options["name"])
        if options["start"]:
            node_drains.start(node, None, to=self._to(options), deadline_s=options["deadline_s"])
        elif options["cancel"]:
            node_drains.cancel(node, None)
        return list(node.storages.all())

    def _to(self, options: dict[str, Any]) -> Storage | None:
        return named.storage(options["project"], options["to"]) if options["to"] else None

    def _tell(self, storages: list[Storage]) -> bool:
        """Print what is left on each; whether anything is, where a drain is under way."""
        for storage in storages:
            storage.refresh_from_db()
            left = drains.progress(storage)
            to = f" to {storage.drain_to}" if storage.drain_to else ""
            late = ", late" if left.is_late else ""
            counts = f"{left.replicas} copies of {left.bytes} bytes and {left.uploads} uploads left"
            done = f", {left.measure.percent} % done" if left.measure else ""
            self.stdout.write(f"{storage}: {storage.state}{to}, {counts}{done}{late}")
        self.stdout.flush()
        return any(storage.state == StorageState.DRAINING for storage in storages)
