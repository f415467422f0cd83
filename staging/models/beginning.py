"""Beginnings: which versions clients began to read through an alias, so that the rest of another one follows none."""

from django.db import models
from django.utils import timezone

from staging.models.alias import Alias
from staging.models.fields import KeyField


class Beginning(models.Model):
    """A download of ``version`` of what the alias stands for at ``key`` was begun, last at ``at``.

    Of a folder's archive ``key`` is the prefix. ``broke_off``: one of them did not come to the end of the file, so that
    its client may go on with it at any time. ``under_way``: so many are known to last; of a gateway that was killed, or
    a client that vanished, for ever.
    """

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="beginnings")
    key = KeyField()
    version = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    broke_off = models.BooleanField(default=False)
    under_way = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alias", "key", "version"], name="beginning_once")]

    def __str__(self) -> str:
        return f"download of {self.key}"
