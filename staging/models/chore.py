"""Chores: what runs by the clock, whoever's clock it is."""

from django.db import models


class Chore(models.Model):
    """When a chore was begun last, and ``place``: behind which row its next pass goes on, empty for the beginning.

    Or, of a part of a chore that failed, when it did so last and in ``place`` what of; see ``staging.chores``.
    """

    name = models.CharField(max_length=40, primary_key=True)
    begun_at = models.DateTimeField()
    place = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return self.name
