"""Credentials: the secrets by which Waybill itself enters a storage."""

from django.db import models

from staging.models.fields import validate_name
from staging.models.project import Project


class Credential(models.Model):
    """Secret settings of one or more storages, encrypted by the key ring; ``staging/credentials.py`` alone opens it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=63, validators=[validate_name])
    sealed = models.BinaryField(editable=False)
    field_names = models.JSONField(default=list, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="credential_name_once")]

    def __str__(self) -> str:
        return self.name
