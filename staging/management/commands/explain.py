"""`manage.py explain`: why an object's copies are where they are."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from staging import objects
from staging.errors import StagingError
from staging.models import Bucket


class Command(BaseCommand):
    """For an operator at the machine."""

    help = "Say in words why each copy of an object is where it is, and what will happen next."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("object", help="bucket/key")
        parser.add_argument("--project", default="default", help="the project's name")

    def handle(self, *_args: Any, **options: Any) -> None:
        name, _, key = options["object"].partition("/")
        bucket = Bucket.objects.select_related("storage").filter(name=name, project__name=options["project"]).first()
        if bucket is None:
            raise CommandError(f"The project {options['project']} has no bucket {name}.")
        try:
            said = objects.explain(bucket, key)
        except StagingError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"{options['object']} is {said.durability}.")
        for title, sentences in (("Policy", said.policy), ("Copies", said.replicas), ("Next", said.next)):
            self.stdout.write(f"{title}:")
            for sentence in sentences:
                self.stdout.write(f"  - {sentence}")
