"""Broken streams: where a body of unknown length broke off, so that its tail is not taken for a whole."""

from django.db import models

from staging.models.alias import Alias
from staging.models.fields import KeyField


class BrokenStream(models.Model):
    """A stream to ``key`` through the alias did not make it, and nothing was committed there through it since."""

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="broken_streams")
    key = KeyField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alias", "key"], name="broken_stream_once")]

    def __str__(self) -> str:
        return f"broken stream to {self.key}"
