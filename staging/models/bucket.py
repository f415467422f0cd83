"""Buckets: namespaces of objects with a policy."""

from django.db import models
from django.db.models import Q

from staging.models.fields import KeyField
from staging.models.project import Project
from staging.models.storage import Storage


class Bucket(models.Model):
    """Managed: Waybill decides where the bytes lie. Mounted: mirrors the folder ``prefix`` of ``storage``, in place.

    ``policy`` holds the fields of ``staging.placement.Policy``. Every storage has one mounted bucket of its whole
    root, named ``~`` and the storage's name.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="buckets")
    name = models.CharField(max_length=64)
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="buckets")
    mounted = models.BooleanField(default=False)
    prefix = KeyField(blank=True, default="", help_text="Of a mounted bucket: its folder, ending in '/'.")
    policy = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="bucket_name_once"),
            models.CheckConstraint(
                condition=Q(mounted=True, prefix="")
                | Q(mounted=True, prefix__endswith="/")
                | Q(mounted=False, prefix=""),
                name="bucket_prefix_is_a_folder",
            ),
        ]

    def __str__(self) -> str:
        return self.name
